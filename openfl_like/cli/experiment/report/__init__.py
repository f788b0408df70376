"""``fx experiment report`` and ``compare``: what experiments came to, as a page to print and figures."""
