"""Supervisely's formats: projects with annotations, train and inference configurations, checkpoint folders.

After the documentation of Supervisely's annotation format (developer.supervisely.com) and the plugin ``nn/icnet`` of
supervisely/supervisely 4e06a065f.
"""

from .annotation import Annotation, AnnotationFigure
from .config import InferenceConfig, TrainConfig, read_inference_config, read_train_config
from .meta import Meta, ObjectClass
from .project import Project, read_project

__all__ = [
    "Annotation",
    "AnnotationFigure",
    "InferenceConfig",
    "Meta",
    "ObjectClass",
    "Project",
    "TrainConfig",
    "read_inference_config",
    "read_project",
    "read_train_config",
]
