"""Files made to harm, of the kinds that need the extras."""

from fault_corpus_minari import MINARI_ATTACKS
from fault_corpus_shards import SHARD_ATTACKS
from fault_corpus_yaml import YAML_ATTACKS

ATTACKS_OF_EXTRAS = (*SHARD_ATTACKS, *YAML_ATTACKS, *MINARI_ATTACKS)
