from .source import GraphSource as GraphSource
from .source import GraphsSource as GraphsSource
from .source import NodeSource as NodeSource
from .splits import LinkSplit as LinkSplit
from .splits import Split as Split
from .splits import link_split as link_split
