"""Datasets: sources, plans of an epoch, memory budgets, curation."""
