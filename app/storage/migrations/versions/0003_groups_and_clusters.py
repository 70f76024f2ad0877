"""Edges without foreign keys, pairs, groups, clusters, layouts that grow, decisions."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE run ADD COLUMN progress REAL;
DELETE FROM run AS older USING run AS newer WHERE older.state = 'pending' AND older.kind <> 'ingest'
    AND newer.state = 'pending' AND newer.kind = older.kind AND newer.event_id = older.event_id
    AND newer.id > older.id;
-- A stage that waits to be built covers whatever is asked of it meanwhile.
CREATE UNIQUE INDEX run_one_pending_stage ON run (event_id, kind)
    WHERE state = 'pending' AND kind <> 'ingest';

ALTER TABLE photo
    ADD COLUMN structure BYTEA,
    ADD COLUMN flag SMALLINT DEFAULT 0 NOT NULL,
    ADD COLUMN kept_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN best_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE face
    ADD COLUMN sharpness REAL,
    ADD COLUMN frontal REAL;

DROP TABLE edge;
CREATE TABLE edge (
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    src BIGINT NOT NULL,
    dst BIGINT NOT NULL,
    model SMALLINT NOT NULL,
    weight REAL NOT NULL,
    PRIMARY KEY (event_id, src, kind, dst)
);
CREATE INDEX edge_by_dst ON edge (dst);

CREATE TABLE photo_pair (
    event_id BIGINT NOT NULL,
    a BIGINT NOT NULL,
    b BIGINT NOT NULL,
    similarity REAL NOT NULL,
    structure REAL NOT NULL,
    mirrored BOOLEAN NOT NULL,
    hash_distance SMALLINT NOT NULL,
    same_frame BOOLEAN NOT NULL,
    PRIMARY KEY (event_id, a, b)
);
CREATE INDEX photo_pair_by_b ON photo_pair (b);

-- Checking a foreign key for each of a million edges takes longer than finding them.
CREATE FUNCTION drop_edges_of_deleted_photos() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM edge USING gone WHERE edge.event_id = gone.event_id AND edge.src = gone.id;
    DELETE FROM edge USING gone WHERE edge.dst = gone.id;
    DELETE FROM photo_pair p USING gone WHERE p.event_id = gone.event_id AND p.a = gone.id;
    DELETE FROM photo_pair p USING gone WHERE p.b = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_edges AFTER DELETE ON photo REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION drop_edges_of_deleted_photos();

CREATE TABLE event_link (
    event_id BIGINT NOT NULL,
    other_id BIGINT NOT NULL,
    PRIMARY KEY (event_id, other_id),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    FOREIGN KEY(other_id) REFERENCES event (id) ON DELETE CASCADE
);
CREATE INDEX ix_event_link_other_id ON event_link (other_id);

CREATE TABLE grouping (
    event_id BIGINT NOT NULL,
    sensitivity SMALLINT DEFAULT 50 NOT NULL,
    counts JSONB,
    built_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (event_id),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE
);

CREATE TABLE photo_group (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    best_id BIGINT,
    size INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    FOREIGN KEY(best_id) REFERENCES photo (id) ON DELETE SET NULL
);
CREATE INDEX photo_group_by_event ON photo_group (event_id, kind, id);
CREATE INDEX ix_photo_group_best_id ON photo_group (best_id);

CREATE TABLE photo_group_member (
    group_id BIGINT NOT NULL,
    photo_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    rank INTEGER NOT NULL,
    similarity REAL NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (group_id, photo_id),
    UNIQUE (photo_id, kind),
    FOREIGN KEY(group_id) REFERENCES photo_group (id) ON DELETE CASCADE,
    FOREIGN KEY(photo_id) REFERENCES photo (id) ON DELETE CASCADE
);

CREATE TABLE cluster (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    event_id BIGINT NOT NULL,
    level TEXT NOT NULL,
    parent_id BIGINT,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    words TEXT[] NOT NULL,
    own_name TEXT,
    size INTEGER NOT NULL,
    cover_id BIGINT,
    first_at TIMESTAMP WITHOUT TIME ZONE,
    last_at TIMESTAMP WITHOUT TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (event_id, level, number),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    FOREIGN KEY(parent_id) REFERENCES cluster (id) ON DELETE CASCADE,
    FOREIGN KEY(cover_id) REFERENCES photo (id) ON DELETE SET NULL
);
CREATE INDEX ix_cluster_parent_id ON cluster (parent_id);
CREATE INDEX ix_cluster_cover_id ON cluster (cover_id);

CREATE TABLE cluster_member (
    photo_id BIGINT NOT NULL,
    level TEXT NOT NULL,
    cluster_id BIGINT NOT NULL,
    PRIMARY KEY (photo_id, level),
    FOREIGN KEY(photo_id) REFERENCES photo (id) ON DELETE CASCADE,
    FOREIGN KEY(cluster_id) REFERENCES cluster (id) ON DELETE CASCADE
);
CREATE INDEX ix_cluster_member_cluster_id ON cluster_member (cluster_id);

ALTER TABLE layout
    ADD COLUMN fit INTEGER DEFAULT 1 NOT NULL,
    ADD COLUMN fitted INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN placed INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN trustworthiness REAL;

CREATE TABLE decision (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    batch BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    photo_id BIGINT NOT NULL,
    field TEXT NOT NULL,
    value SMALLINT NOT NULL,
    actor TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    undone BIGINT,
    PRIMARY KEY (id),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    FOREIGN KEY(photo_id) REFERENCES photo (id) ON DELETE CASCADE
);
CREATE INDEX decision_by_photo ON decision (photo_id, field, id);
CREATE INDEX decision_by_batch ON decision (batch);
CREATE INDEX decision_by_event ON decision (event_id, id);
CREATE SEQUENCE decision_batch
"""

DOWN = """
DROP SEQUENCE decision_batch;
DROP TABLE decision, cluster_member, cluster, photo_group_member, photo_group, grouping, event_link,
    photo_pair, edge;
DROP TRIGGER drop_edges ON photo;
DROP FUNCTION drop_edges_of_deleted_photos;
ALTER TABLE layout DROP COLUMN fit, DROP COLUMN fitted, DROP COLUMN placed,
    DROP COLUMN trustworthiness;
ALTER TABLE face DROP COLUMN sharpness, DROP COLUMN frontal;
ALTER TABLE photo DROP COLUMN structure, DROP COLUMN flag, DROP COLUMN kept_at, DROP COLUMN best_at;
DROP INDEX run_one_pending_stage;
DELETE FROM run WHERE kind IN ('groups', 'clusters');
ALTER TABLE run DROP COLUMN progress;
CREATE TABLE edge (
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    src BIGINT NOT NULL,
    dst BIGINT NOT NULL,
    model SMALLINT NOT NULL,
    weight REAL NOT NULL,
    PRIMARY KEY (event_id, kind, src, dst),
    FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    FOREIGN KEY(src) REFERENCES photo (id) ON DELETE CASCADE,
    FOREIGN KEY(dst) REFERENCES photo (id) ON DELETE CASCADE,
    FOREIGN KEY(model) REFERENCES model (number)
);
CREATE INDEX edge_by_dst ON edge (dst)
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWN)
