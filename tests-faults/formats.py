"""Every kind of file that the package reads, with all extras."""

from fault_formats import FORMATS as PLAIN
from fault_formats_extras import FORMATS_OF_EXTRAS

FORMATS = (*PLAIN, *FORMATS_OF_EXTRAS)
