"""Which operators a policy file may use: data, so that another kind of network extends a list and no code.

None of them holds a graph of its own (`Loop`, `If`, `Scan`, `SequenceMap`), makes an output whose size depends on the
numbers of its input (`NonZero`, `Range`, `Unique`), draws random numbers, or reads anything but its inputs.
"""

from __future__ import annotations

ARITHMETIC = (
    "Abs Add Ceil Clip Cos CumSum Div Erf Exp Floor IsInf IsNaN Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign"
    " Sin Sqrt Sub Sum And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Where Xor ArgMax ArgMin TopK"
)
ACTIVATIONS = (
    "Celu Elu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu Relu Selu Sigmoid Softmax Softplus Softsign"
    " Tanh"
)
REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
SHAPES = (
    "Cast Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity OneHot Pad Reshape"
    " Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze"
)
LINEAR = "Gemm MatMul"
CONVOLUTIONS = "AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool"
RECURRENT = "GRU LSTM RNN"
NORMALIZATION = "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization RMSNormalization"

ALLOWED = frozenset(
    " ".join((ARITHMETIC, ACTIVATIONS, REDUCTIONS, SHAPES, LINEAR, CONVOLUTIONS, RECURRENT, NORMALIZATION)).split()
)
"""MLPs, convolutions, recurrent networks, attention and normalization, with categorical and Gaussian heads, as torch
exports them."""
