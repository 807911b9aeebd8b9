"""One translator per Caffe layer type, by family; importing this package registers them all."""

from . import activation as activation
from . import convolution as convolution
from . import dense as dense
from . import detection as detection
from . import elementwise as elementwise
from . import interp as interp
from . import loss as loss
from . import normalization as normalization
from . import pooling as pooling
from . import reshaping as reshaping
from . import roi as roi
from . import selecting as selecting
from . import sources as sources
