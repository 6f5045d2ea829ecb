"""Files made to harm, of every kind, with all extras."""

from fault_corpus import ATTACKS as PLAIN
from fault_corpus_extras import ATTACKS_OF_EXTRAS

ATTACKS = (*PLAIN, *ATTACKS_OF_EXTRAS)
