"""What sites tell of themselves besides their updates: their machines, and how far they are."""
