"""What ``fx doctor`` looks at before a daemon is started, or where something does not work.

Layer: above `services` and `authoring`. Only commands import it; no daemon does. Every check is one small function; it
uses the code by which the daemons themselves read settings, certificates, shards and plans, so that both always agree.
"""
