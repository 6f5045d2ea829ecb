"""The rules of the town, each over the arrays of all agents at once; none of these modules imports another."""
