"""PostgreSQL: tables, engine, migrations, repositories; and the blob store. The only truth there is."""
