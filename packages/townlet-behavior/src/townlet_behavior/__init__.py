"""Scripted and learned proposals in, one executed decision per agent out, with who decided and how likely it was."""
