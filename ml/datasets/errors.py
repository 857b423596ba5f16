"""What can go wrong between a data set's site and a manifest.

    DatasetError
    |- ManifestError     a manifest file is malformed; the message names file and line
    |- DownloadError     a file could not be fetched
    |- ChecksumError     what was fetched is not what was published, or not what was fetched the first time
    |- ArchiveError      an archive is damaged, unsafe, or of a kind that can't be unpacked here
    |- LayoutError       an unpacked corpus lacks a file or folder that its publisher's layout has
    `- CorruptClipError  a recording that a corpus lists can't be read

Each message says what to do. `ml.datasets.cli` turns them into one line and exit code 1.
"""


class DatasetError(Exception):
    """Root of what leaves `ml.datasets`; never raised itself."""


class ManifestError(DatasetError):
    pass


class DownloadError(DatasetError):
    pass


class ChecksumError(DatasetError):
    pass


class ArchiveError(DatasetError):
    pass


class LayoutError(DatasetError):
    pass


class CorruptClipError(DatasetError):
    pass
