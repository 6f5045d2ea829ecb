"""The parts of `townlet capture`: what a sample says of its surroundings, suites of configs, scripted samples."""
