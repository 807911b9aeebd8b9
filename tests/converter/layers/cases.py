"""One-layer nets that between them use every supported type and each of its parameters.

A case is the layer's text (type first), the shape of each bottom, and what the bottoms hold: by default normal numbers;
``"positive"``; ``"labels N"``: integers below N in the last bottom but for the first; ``"boxes"``: regions of interest.
"""

from __future__ import annotations

PLANE = (2, 4, 7, 9)
Case = tuple[str, list[tuple[int, ...]], str]


def _cases(text: str, *shapes: tuple[int, ...], holds: str = "normal") -> list[Case]:
    """A case for each line of ``text``."""
    return [(line.strip(), list(shapes), holds) for line in text.strip().splitlines()]


ACTIVATION = [
    *_cases(
        """
        ReLU
        ReLU relu_param { negative_slope: 0.1 }
        ReLU6
        ReLU6 relu6_param { threshold: 1.5 negative_slope: 0.2 }
        CReLU
        CReLU crelu_param { concat_axis: -1 negative_slope: 0.3 }
        PReLU
        PReLU prelu_param { channel_shared: true }
        ELU
        ELU elu_param { alpha: 0.4 }
        Sigmoid
        TanH
        BNLL
        Swish
        Swish swish_param { beta: 0.7 }
        Mish
        HardSwish
        Dropout dropout_param { dropout_ratio: 0.3 }
        Dropout dropout_param { dropout_ratio: 0.3 scale_train: false }
        SpatialDropout
        AbsVal
        Power power_param { power: 2 scale: -0.5 shift: 3 }
        Power power_param { power: 3 }
        Power power_param { power: 0.5 scale: 0 shift: 4 }
        Power power_param { power: 0 }
        Exp
        Exp exp_param { base: 2 scale: -0.5 shift: 1.5 }
        Exp exp_param { shift: 0.5 }
        Threshold
        Threshold threshold_param { threshold: 0.3 }
        Clip clip_param { min: -0.5 max: 0.75 }
        """,
        PLANE,
    ),
    *_cases("PReLU\nReLU relu_param { negative_slope: 0.1 }", (3, 5)),
    *_cases("Log\nLog log_param { base: 10 scale: 2 shift: 0.5 }", PLANE, holds="positive"),
]

CONVOLUTION = [
    *_cases(
        """
        Convolution convolution_param { num_output: 6 kernel_size: 3 }
        Convolution convolution_param { num_output: 6 kernel_size: 3 pad: 2 stride: 2 dilation: 2 bias_term: false }
        Convolution convolution_param { num_output: 6 group: 2 kernel_h: 2 kernel_w: 5 pad_w: 3 stride_h: 3 stride_w: 1}
        Convolution convolution_param { num_output: 6 kernel_size: 2 kernel_size: 3 pad: 1 pad: 0 stride: 1 stride: 2 }
        Convolution convolution_param { num_output: 4 kernel_size: 3 hole: 2 }
        Convolution convolution_param { num_output: 4 kernel_size: 3 hole_h: 2 hole_w: 1 }
        Convolution convolution_param { num_output: 4 group: 4 kernel_size: 3 dilation: 0 }
        Convolution convolution_param { num_output: 4 kernel_size: 3 dilation: 0 dilation: 2 }
        Convolution convolution_param { num_output: 5 kernel_size: 2 axis: 2 }
        Convolution convolution_param { num_output: 5 kernel_size: 2 axis: 0 }
        Convolution convolution_param { num_output: 5 kernel_size: 1 axis: -1 }
        ConvolutionData convolution_param { num_output: 2 kernel_size: 1 }
        HoleConvolutionData convolution_param { num_output: 2 kernel_size: 3 dilation: 3 pad: 3 }
        HoleConvolution convolution_param { num_output: 2 kernel_size: 3 hole: 3 pad: 3 }
        DepthwiseConvolution convolution_param { num_output: 4 group: 4 kernel_size: 3 stride: 2 }
        ConvolutionDepthwise convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
        ConvolutionDepthWise convolution_param { num_output: 4 kernel_size: 3 dilation: 2 bias_term: false }
        Deconvolution convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 }
        Deconvolution convolution_param { num_output: 6 group: 2 kernel_size: 3 stride: 3 dilation: 2 bias_term: false }
        Deconvolution convolution_param { num_output: 3 kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_w: 1 }
        Deconvolution convolution_param { num_output: 3 kernel_size: 3 axis: 2 stride: 2 }
        Deconvolution convolution_param { num_output: 3 kernel_size: 3 dilation: 0 stride: 2 }
        Im2col convolution_param { kernel_size: 3 }
        Im2col convolution_param { kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 0 stride_h: 1 stride_w: 2 }
        Im2col convolution_param { kernel_size: 2 dilation: 2 stride: 2 }
        InnerProduct inner_product_param { num_output: 5 }
        InnerProduct inner_product_param { num_output: 5 axis: 2 bias_term: false }
        InnerProduct inner_product_param { num_output: 5 axis: -1 transpose: true }
        InnerProduct inner_product_param { num_output: 5 axis: 0 }
        """,
        PLANE,
    ),
    *_cases("Convolution convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 }", (2, 4, 11)),
    *_cases(
        """
        Convolution convolution_param { num_output: 3 kernel_size: 2 pad: 1 stride: 2 }
        Deconvolution convolution_param { num_output: 3 kernel_size: 2 stride: 2 }
        Im2col convolution_param { kernel_size: 2 }
        """,
        (2, 3, 4, 5, 6),
    ),
    *_cases(
        """
        Convolution top: 'y' top: 'z' convolution_param { num_output: 3 kernel_size: 3 }
        Deconvolution top: 'y' top: 'z' convolution_param { num_output: 3 kernel_size: 3 }
        """,
        PLANE,
        PLANE,
    ),
    *_cases("Embed embed_param { num_output: 5 input_dim: 7 }", (2, 3), holds="labels 7"),
    *_cases("Embed embed_param { num_output: 5 input_dim: 7 bias_term: false }", (4,), holds="labels 7"),
]

POOLING = [
    *_cases(
        """
        Pooling pooling_param { kernel_size: 2 stride: 2 }
        Pooling pooling_param { kernel_size: 3 stride: 2 pad: 1 }
        Pooling pooling_param { kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR }
        Pooling pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }
        Pooling pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 2 }
        Pooling pooling_param { pool: AVE kernel_size: 5 stride: 3 pad: 4 }
        Pooling pooling_param { kernel_size: 2 stride: 3 }
        Pooling pooling_param { kernel_size: 8 stride: 2 }
        Pooling pooling_param { pool: AVE global_pooling: true }
        Pooling top: 'y' top: 'm' pooling_param { kernel_size: 3 stride: 2 }
        Pooling top: 'y' top: 'm' pooling_param { kernel_size: 3 stride: 2 pad: 1 }
        Pooling top: 'y' top: 'm' pooling_param { kernel_size: 2 stride: 3 pad: 1 }
        SPP spp_param { pyramid_height: 1 }
        SPP spp_param { pyramid_height: 2 }
        SPP spp_param { pyramid_height: 2 pool: AVE }
        Upsample upsample_param { scale: 3 }
        """,
        PLANE,
    ),
    *_cases("Pooling pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", PLANE, holds="positive"),
    *_cases("SPP spp_param { pyramid_height: 1 pool: STOCHASTIC }", PLANE, holds="positive"),
    *_cases(
        """
        Upsample
        Upsample upsample_param { scale_h: 2 scale_w: 3 }
        Upsample upsample_param { pad_out_h: true }
        Upsample upsample_param { upsample_h: 9 upsample_w: 8 }
        """,
        (2, 3, 4, 4),
        (2, 3, 4, 4),
        holds="mask 40",
    ),
]

NORMALIZATION = [
    *_cases(
        """
        BN bn_param { eps: 0.01 }
        BN bn_param { scale_filler { value: 1 } bn_mode: INFERENCE }
        BN bn_param { shift_filler { value: 0 } }
        BNData
        BatchNorm
        BatchNorm batch_norm_param { eps: 0.01 use_global_stats: true }
        BatchNorm batch_norm_param { use_global_stats: false }
        LRN
        LRN lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 }
        LRN lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.5 k: 7 }
        LRN top: 'a'
        LRN top: 'a' lrn_param { local_size: 7 alpha: 0.5 k: 3 }
        LRN top: 'a' lrn_param { norm_region: WITHIN_CHANNEL }
        MVN
        MVN mvn_param { normalize_variance: false }
        MVN mvn_param { across_channels: true eps: 0.01 }
        Normalize
        Normalize norm_param { across_spatial: false channel_shared: false }
        Normalize norm_param { across_spatial: false eps: 0.1 }
        Softmax
        Softmax softmax_param { axis: -1 }
        """,
        PLANE,
    ),
    *_cases("BatchNorm\nMVN mvn_param { across_channels: true }\nNormalize", (3, 5)),
    *_cases(
        "BatchNorm batch_norm_param { use_global_stats: false }\nNormalize norm_param { channel_shared: false }", (3, 5)
    ),
    *_cases("BatchNorm", (2, 3, 4, 5, 2)),
]

ELEMENTWISE = [
    *_cases(
        """
        Scale
        Scale scale_param { bias_term: true axis: 2 num_axes: 2 }
        Scale scale_param { axis: 0 num_axes: -1 bias_term: true }
        Scale scale_param { num_axes: 0 bias_term: true }
        Bias
        Bias bias_param { axis: -2 num_axes: 2 }
        Reduction
        Reduction reduction_param { operation: ASUM axis: 1 coeff: 0.5 }
        Reduction reduction_param { operation: SUMSQ axis: -1 }
        Reduction reduction_param { operation: MEAN axis: 2 coeff: -2 }
        ArgMax
        ArgMax argmax_param { top_k: 3 }
        ArgMax argmax_param { top_k: 3 out_max_val: true }
        ArgMax argmax_param { axis: 1 top_k: 2 }
        ArgMax argmax_param { axis: -1 out_max_val: true }
        """,
        PLANE,
    ),
    *_cases("ArgMax argmax_param { out_max_val: true top_k: 2 }\nReduction", (4, 6)),
    *_cases("ArgMax argmax_param { axis: 1 }\nArgMax argmax_param { top_k: 4 }", (6, 9), holds="labels 3"),
    *_cases("Scale scale_param { bias_term: true }\nBias", PLANE, (4, 7)),
    *_cases("Scale\nBias", PLANE, ()),
    *_cases("Scale scale_param { axis: 0 }", PLANE, PLANE[:2]),
    *_cases(
        """
        Eltwise
        Eltwise eltwise_param { coeff: 0.5 coeff: -1 coeff: 2 }
        Eltwise eltwise_param { operation: PROD }
        Eltwise eltwise_param { operation: MAX }
        Eltwise top: 'a' eltwise_param { operation: PROD }
        Concat
        Concat concat_param { axis: -1 }
        Concat concat_param { concat_dim: 0 }
        """,
        PLANE,
        PLANE,
        PLANE,
    ),
    *_cases("Axpy", (2, 4, 1, 1), PLANE, PLANE),
    *_cases("Axpy", (2, 4), (2, 4, 5), (2, 4, 5)),
]

SHAPES = [
    *_cases(
        """
        Flatten
        Flatten flatten_param { axis: 2 end_axis: -1 }
        Flatten flatten_param { axis: -2 end_axis: 1 }
        Reshape reshape_param { shape { dim: 0 dim: -1 dim: 9 } }
        Reshape reshape_param { shape { dim: -1 dim: 3 } axis: 2 num_axes: 2 }
        Reshape reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }
        Reshape reshape_param { shape { dim: 1 dim: 1 } axis: 1 num_axes: 0 }
        Permute permute_param { order: 0 order: 2 order: 3 order: 1 }
        Permute permute_param { order: 3 }
        ShuffleChannel shuffle_channel_param { group: 2 }
        Tile tile_param { tiles: 3 }
        Tile tile_param { axis: -1 tiles: 2 }
        Slice top: 'x' top: 'y'
        Slice top: 'x' top: 'y' top: 'z' slice_param { axis: -1 slice_point: 1 slice_point: 5 }
        Slice top: 'x' top: 'y' slice_param { slice_dim: 0 }
        Slice top: 'x'
        Split top: 'x' top: 'y'
        Concat
        """,
        PLANE,
    ),
    *_cases("Crop", PLANE, (2, 4, 5, 3)),
    *_cases("Crop crop_param { offset: 2 offset: 5 }\nCrop crop_param { offset: 1 }", PLANE, (2, 4, 5, 3)),
    *_cases("Crop crop_param { axis: 0 offset: 1 }", PLANE, (1, 2, 5, 3)),
    *_cases("Crop crop_param { axis: -1 offset: 4 }", PLANE, (1, 1, 1, 5)),
    *_cases("BatchReindex", (4, 3, 2), (6,), holds="labels 4"),
    *_cases("Filter", (6, 3, 2), (6,), holds="labels 2"),
    *_cases("Filter top: 'x' top: 'y'", (6, 3, 2), (6,), (6, 1, 1), holds="labels 2"),
]

LOSSES = [
    *_cases(
        """
        SoftmaxWithLoss
        SoftmaxWithLoss top: 'l' top: 'p' loss_param { ignore_label: 2 }
        SoftmaxWithLoss loss_param { ignore_label: 2 normalization: FULL }
        SoftmaxWithLoss loss_param { ignore_label: 2 normalization: BATCH_SIZE }
        SoftmaxWithLoss loss_param { normalization: NONE }
        SoftmaxWithLoss loss_param { normalize: false }
        Accuracy
        Accuracy top: 'y' top: 'c' accuracy_param { top_k: 2 ignore_label: 1 }
        """,
        PLANE,
        (2, 1, 7, 9),
        holds="labels 4",
    ),
    *_cases(
        """
        SoftmaxWithLoss softmax_param { axis: -1 }
        Accuracy accuracy_param { axis: -1 top_k: 3 }
        """,
        (3, 4, 6),
        (3, 4),
        holds="labels 6",
    ),
    *_cases(
        """
        HingeLoss
        HingeLoss hinge_loss_param { norm: L2 }
        """,
        (5, 6),
        (5,),
        holds="labels 6",
    ),
    *_cases("Accuracy\nAccuracy top: 'y' top: 'c'", (9, 3), (9,), holds="ties 3"),
    *_cases("MultinomialLogisticLoss", (5, 6), (5, 1), holds="positive labels 6"),
    *_cases("SigmoidCrossEntropyLoss\nSigmoidCrossEntropyLoss loss_param { normalization: FULL }", PLANE, PLANE),
    *_cases(
        "SigmoidCrossEntropyLoss loss_param { ignore_label: 1 normalization: VALID }", (5, 6), (5, 6), holds="labels 2"
    ),
    *_cases("EuclideanLoss", PLANE, PLANE),
    *_cases(
        "InfogainLoss\nInfogainLoss top: 'l' top: 'p' loss_param { ignore_label: 0 }",
        (5, 4, 3),
        (5, 3),
        (4, 4),
        holds="gains 4",
    ),
    *_cases(
        "ContrastiveLoss\nContrastiveLoss contrastive_loss_param { margin: 9 legacy_version: true }",
        (6, 4),
        (6, 4),
        (6,),
        holds="labels 2",
    ),
    *_cases(
        "ContrastiveLoss contrastive_loss_param { margin: 5 }",
        (6, 4, 1, 1),
        (6, 4, 1, 1),
        (6, 1, 1, 1),
        holds="labels 2",
    ),
]

RECURRENT = [
    *_cases(
        "LSTM recurrent_param { num_output: 5 }\nRNN recurrent_param { num_output: 5 }",
        (4, 3, 2, 2),
        (4, 3),
        holds="cont",
    ),
    *_cases(
        "LSTM recurrent_param { num_output: 5 }\nRNN recurrent_param { num_output: 5 }",
        (4, 3, 2),
        (4, 3),
        (3, 2, 2),
        holds="cont",
    ),
    *_cases(
        "LSTM top: 'y' top: 'h' top: 'c' recurrent_param { num_output: 5 expose_hidden: true }",
        (4, 3, 2),
        (4, 3),
        (1, 3, 5),
        (1, 3, 5),
        holds="cont",
    ),
    *_cases(
        "RNN top: 'y' top: 'h' recurrent_param { num_output: 5 expose_hidden: true }",
        (4, 3, 2),
        (4, 3),
        (3, 2),
        (1, 3, 5),
        holds="cont",
    ),
]

DETECTION = [
    *_cases(
        """
        PriorBox prior_box_param { min_size: 3.7 variance: 0.25 }
        PriorBox prior_box_param { min_size: 3 max_size: 7.9 aspect_ratio: [2, 3] variance: 0.2 offset: 0.25 }
        PriorBox prior_box_param { min_size: [3, 5] max_size: [6, 8] aspect_ratio: 2 flip: false clip: true variance: 1}
        PriorBox prior_box_param { min_size: 9 variance: [0.1, 0.1, 0.2, 0.3] img_h: 50 img_w: 60 step: 4 }
        PriorBox prior_box_param { min_size: 9 aspect_ratio: [1, 0.5] img_size: 40 step_h: 4 step_w: 5 variance: 1 }
        """,
        PLANE,
        (2, 3, 30, 40),
    ),
    *_cases(
        """
        ROIPooling roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }
        PSROIPooling psroi_pooling_param { spatial_scale: 0.25 output_dim: 2 group_size: 3 }
        """,
        (2, 18, 12, 14),
        (9, 5),
        holds="boxes",
    ),
    *_cases(
        """
        Interp interp_param { zoom_factor: 3 pad_beg: -1 pad_end: -2 }
        Interp interp_param { height: 12 width: 5 }
        Resize resize_param { height: 12 width: 5 }
        Resize resize_param { is_pyramid_test: true out_height_scale: 1.7 out_width_scale: 0.6 }
        """,
        PLANE,
    ),
    *_cases(
        """
        Correlation correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 }
        Correlation correlation_param { kernel_size: 3 max_displacement: 3 pad: 4 stride_1: 2 stride_2: 2 }
        Correlation correlation_param { kernel_size: 3 max_displacement: 1 pad: 2 correlation_type: SUBTRACT }
        """,
        PLANE,
        PLANE,
    ),
]

CASES = [
    *ACTIVATION,
    *CONVOLUTION,
    *POOLING,
    *NORMALIZATION,
    *ELEMENTWISE,
    *SHAPES,
    *LOSSES,
    *RECURRENT,
    *DETECTION,
]
ELSEWHERE = {"DetectionOutput", "DummyData", "Parameter", "Silence"}
"""Types that need more than random bottoms, or that have none."""
