"""Learning from what people showed: in a process of its own, beside the world that goes on."""
