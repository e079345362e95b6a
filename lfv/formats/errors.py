"""Errors about images, references, manifests and answers.

    LfvError
    ├── ImageError                     an image that cannot be inspected; never retryable
    │   ├── ImageEmpty
    │   ├── ImageTooLarge              more bytes than the service accepts
    │   ├── ImageFormatUnsupported     neither PNG nor JPEG by content
    │   ├── ImageEncodingUnsupported   12-bit, lossless or arithmetic-coded JPEG
    │   ├── ImageAnimated              APNG
    │   ├── ImageMultiPicture          several pictures in one JPEG (MPO)
    │   ├── ImageTooSmall              fewer pixels a side than the service accepts
    │   ├── ImageDimensionsTooLarge    more pixels a side, decompression bombs included
    │   ├── ImageDimensionsMismatch    not the dimensions that the model was trained on
    │   ├── ImageTruncated             part of the file is missing
    │   └── ImageDamaged               violates its format
    ├── SourceError                    the file or object that a reference names cannot be read
    │   ├── SourceRefInvalid
    │   ├── SourceSchemeUnsupported
    │   ├── SourceOutside              lies outside its folder or bucket
    │   ├── SourceNotFound
    │   ├── SourceForbidden
    │   ├── CredentialsRefused         missing, expired or unknown; not a fault of the image
    │   ├── SourceNotAFile             a folder, device, socket or named pipe
    │   ├── SourceTooLarge
    │   ├── SourceChanged              changed since it was checked
    │   └── SourceUnavailable          the store is unavailable; retryable
    ├── ManifestError                  the whole manifest cannot be used
    │   ├── ManifestKindUnknown
    │   ├── ManifestHeaderInvalid
    │   ├── AnnotationsInvalid         a COCO, VOC or YOLO file that violates its format
    │   └── ManifestLineInvalid        an invalid line; raised by strict reading only
    ├── ModelArchiveInvalid            an archive of another service's model cannot be read
    ├── MaskColorInvalid               a mask colour is not of the form #RRGGBB
    └── ResponseInvalid                the model's answer violates the API

Every class has a `code`, a stable lower-case identifier that is stored with an inspection and that
queries may rely on. `str(error)` is one sentence for users. `retryable` says whether the same call
may succeed later if nothing else changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lfv.formats.manifest.records import BadLine


class LfvError(Exception):
    """Base class of all errors here and in `lfv.client`."""

    code: ClassVar[str] = "client_error"
    retryable: ClassVar[bool] = False

    @property
    def clause(self) -> str:
        """The sentence without initial capital and full stop, to be embedded in another one."""
        text = str(self).rstrip(".")
        return text[:1].lower() + text[1:]


class ImageError(LfvError):
    code = "image_error"


class ImageEmpty(ImageError):
    code = "image_empty"


class ImageTooLarge(ImageError):
    code = "image_too_large"


class ImageFormatUnsupported(ImageError):
    code = "image_format_unsupported"


class ImageEncodingUnsupported(ImageError):
    code = "image_encoding_unsupported"


class ImageAnimated(ImageError):
    code = "image_animated"


class ImageMultiPicture(ImageError):
    code = "image_multi_picture"


class ImageTooSmall(ImageError):
    code = "image_too_small"


class ImageDimensionsTooLarge(ImageError):
    code = "image_dimensions_too_large"


class ImageDimensionsMismatch(ImageError):
    code = "image_dimensions_mismatch"


class ImageTruncated(ImageError):
    code = "image_truncated"


class ImageDamaged(ImageError):
    code = "image_damaged"


class SourceError(LfvError):
    """The file or object named by the reference `ref` cannot be read."""

    code = "source_error"

    def __init__(self, message: str, *, ref: str = "") -> None:
        super().__init__(message)
        self.ref = ref


class SourceRefInvalid(SourceError):
    code = "source_ref_invalid"


class SourceSchemeUnsupported(SourceError):
    code = "source_scheme_unsupported"


class SourceOutside(SourceError):
    code = "source_outside"


class SourceNotFound(SourceError):
    code = "source_not_found"


class SourceForbidden(SourceError):
    code = "source_forbidden"


class CredentialsRefused(SourceError):
    """The store does not accept the reader's credentials; this is not a fault of the image."""

    code = "credentials_refused"


class SourceNotAFile(SourceError):
    code = "source_not_a_file"


class SourceTooLarge(SourceError):
    code = "source_too_large"


class SourceChanged(SourceError):
    code = "source_changed"


class SourceUnavailable(SourceError):
    code = "source_unavailable"
    retryable = True


class ManifestError(LfvError):
    code = "manifest_error"


class ManifestKindUnknown(ManifestError):
    code = "manifest_kind_unknown"


class ManifestHeaderInvalid(ManifestError):
    code = "manifest_header_invalid"


class AnnotationsInvalid(ManifestError):
    code = "annotations_invalid"


class ModelArchiveInvalid(LfvError):
    code = "model_archive_invalid"


class ManifestLineInvalid(ManifestError):
    """Raised by strict reading; lenient reading yields `bad_line` instead."""

    code = "manifest_line_invalid"

    def __init__(self, bad_line: BadLine) -> None:
        super().__init__(f"Line {bad_line.line_number}: {bad_line.message}")
        self.bad_line = bad_line


class MaskColorInvalid(LfvError):
    code = "mask_colors_invalid"


class ResponseInvalid(LfvError):
    """The model's answer is invalid; `attempts` is the number of calls made for it."""

    code = "response_invalid"
    attempts: int = 1
