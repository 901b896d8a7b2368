"""Public pages for data subjects, generated from the policy in force."""
