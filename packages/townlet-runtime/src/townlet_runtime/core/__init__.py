"""The loop over one simulation: deciding, recording, collecting and evaluating."""
