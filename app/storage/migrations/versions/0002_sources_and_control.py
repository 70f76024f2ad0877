"""Sources with options, credentials and schedules; renditions; health; control of runs."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE source
    ADD COLUMN options JSONB DEFAULT '{}' NOT NULL,
    ADD COLUMN sealed BYTEA,
    ADD COLUMN rescan_seconds INTEGER,
    ADD COLUMN next_scan_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN scanned_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN trouble TEXT;

CREATE INDEX source_due ON source (next_scan_at) WHERE next_scan_at IS NOT NULL;

ALTER TABLE run
    ADD COLUMN served_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN moved INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN gone INTEGER DEFAULT 0 NOT NULL;

ALTER TABLE photo
    DROP COLUMN nudged_at,
    ADD COLUMN listed_width INTEGER,
    ADD COLUMN listed_height INTEGER,
    ADD COLUMN changed_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN gone_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN health TEXT,
    ADD COLUMN health_message TEXT,
    ADD COLUMN health_at TIMESTAMP WITH TIME ZONE;

-- A photo that is fetched anew stays in the gallery with what is known of it until then.
DROP INDEX photo_gallery;
CREATE INDEX photo_gallery ON photo (event_id, taken_key, id) WHERE indexed_at IS NOT NULL;
CREATE INDEX photo_waiting ON photo (run_id, id) WHERE state IN ('pending', 'retry');
CREATE INDEX photo_by_source ON photo (source_id);
CREATE INDEX photo_by_content ON photo (event_id, sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE photo_rendition (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    photo_id BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    uri TEXT NOT NULL,
    version TEXT,
    size BIGINT,
    PRIMARY KEY (id),
    UNIQUE (event_id, key),
    FOREIGN KEY(photo_id) REFERENCES photo (id) ON DELETE CASCADE,
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE
);

CREATE INDEX ix_photo_rendition_photo_id ON photo_rendition (photo_id);

CREATE TABLE installation (
    name TEXT NOT NULL,
    value BYTEA NOT NULL,
    PRIMARY KEY (name)
);

ALTER TABLE worker
    ADD COLUMN version TEXT DEFAULT '' NOT NULL,
    ADD COLUMN state TEXT DEFAULT 'working' NOT NULL,
    ADD COLUMN done BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN recent INTEGER DEFAULT 0 NOT NULL
"""

DOWN = """
ALTER TABLE worker DROP COLUMN version, DROP COLUMN state, DROP COLUMN done, DROP COLUMN recent;
DROP TABLE installation, photo_rendition;
DROP INDEX photo_gallery, photo_waiting, photo_by_source, photo_by_content;
ALTER TABLE photo ADD COLUMN nudged_at TIMESTAMP WITH TIME ZONE, DROP COLUMN listed_width,
    DROP COLUMN listed_height, DROP COLUMN changed_at, DROP COLUMN gone_at, DROP COLUMN health,
    DROP COLUMN health_message, DROP COLUMN health_at;
CREATE INDEX photo_gallery ON photo (event_id, taken_key, id) WHERE state = 'indexed';
ALTER TABLE run DROP COLUMN served_at, DROP COLUMN moved, DROP COLUMN gone;
DROP INDEX source_due;
ALTER TABLE source DROP COLUMN options, DROP COLUMN sealed, DROP COLUMN rescan_seconds,
    DROP COLUMN next_scan_at, DROP COLUMN scanned_at, DROP COLUMN trouble
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWN)
