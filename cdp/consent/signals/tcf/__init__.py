"""TC strings of the IAB's Transparency and Consent Framework 2.2 and 2.3: decoding, and what a string permits.

The decoder is ours, because no maintained one in Python answers what has to be known (decision 37). The layout is that of
"Consent string and vendor list formats v2" (IAB Tech Lab, version 2.3).
"""
