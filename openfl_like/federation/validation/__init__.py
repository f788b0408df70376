"""What is made of updates before they count: verdicts as values, and the limit on the samples that a site may claim."""
