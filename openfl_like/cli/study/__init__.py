"""``fx study``: run studies, show what came of them, report it, put them together."""
