from .devices import make_fabric as make_fabric
from .embed import Embeddings as Embeddings
from .embed import embed as embed
from .loop import train as train
from .run import Run as Run
