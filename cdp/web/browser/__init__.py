"""The browser client that the service offers to the pages of its operator."""
