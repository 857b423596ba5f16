"""`evidence_folder`: one row, once there is a folder of evidence."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, UtcDateTime

THE_ONE = 1


class EvidenceFolder(Base):
    __tablename__ = "evidence_folder"
    __table_args__ = (CheckConstraint(f"id = {THE_ONE}", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    mark: Mapped[str] = mapped_column(String(64))
    """What stands in the folder's file of that name."""
    noted_at: Mapped[datetime] = mapped_column(UtcDateTime())
