"""Recording: tick by tick into columns, and from columns into trajectories."""
