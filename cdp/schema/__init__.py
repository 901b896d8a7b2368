"""Where everything lies: the tables of each room, every column declared for privacy."""
