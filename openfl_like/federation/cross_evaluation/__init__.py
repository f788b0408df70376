"""The phase in which sites score each other's updates; what is made of the scores is in `validation.scoring`."""
