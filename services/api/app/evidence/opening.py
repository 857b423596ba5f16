"""Which store the settings name."""

from app.evidence.objects import ObjectStore, Place
from app.evidence.store import EvidenceStore, FolderStore
from app.settings import Settings


def open_store(settings: Settings, *, owner: bool) -> EvidenceStore:
    """`owner`: of the folder, where it is one; an object store has no owner.

    Raises BlockingIOError where another service owns the folder, NoStoreError where it is none and another's,
    EvidenceUrlError.
    """
    if settings.evidence_url is None:
        return FolderStore(settings.evidence_dir, owner=owner)
    secret = settings.evidence_secret_key
    place = Place(
        settings.evidence_url,
        endpoint=settings.evidence_endpoint,
        region=settings.evidence_region,
        access_key_id=settings.evidence_access_key,
        secret_access_key=None if secret is None else secret.get_secret_value(),
    )
    return ObjectStore(place, settings.evidence_dir)
