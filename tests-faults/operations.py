"""Everything that the package writes, with all extras."""

from fault_operations import OPERATIONS as PLAIN
from fault_operations_extras import OPERATIONS_OF_EXTRAS

OPERATIONS = (*PLAIN, *OPERATIONS_OF_EXTRAS)
