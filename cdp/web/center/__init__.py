"""Pages for the people themselves: what is done with their data, said from the policy in force."""
