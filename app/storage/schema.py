"""All tables in one metadata object, for Alembic and for the schema test."""

from sqlmodel import SQLModel

from app.storage import tables, tables_access, tables_graph

metadata = SQLModel.metadata

__all__ = ["metadata", "tables", "tables_access", "tables_graph"]
