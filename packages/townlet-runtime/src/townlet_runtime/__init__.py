"""The policy layer of a multi-agent simulation: possess, blend, record, act without torch.

Names are imported from their modules, so that the command line pays only for what it uses.
"""

__all__: list[str] = []
