"""The manual of the segment language: chapters, the people of their examples, and the pages made of both."""
