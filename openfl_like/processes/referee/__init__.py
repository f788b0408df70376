"""The referee: a child of the Aggregator that runs the parts of a round that the workspace brings.

It has no key, no network, no file of its own and no children; what it is given are numbers and names, and so is what it
answers. Whatever it does, the Aggregator goes on, and says what it was.
"""
