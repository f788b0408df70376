"""Log lines on their way from a site to users. Imported by the daemons."""
