BEGIN TRANSACTION;
CREATE TABLE client_tokens (
        operation TEXT NOT NULL,
        token TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        answer TEXT NOT NULL,
        created_at REAL NOT NULL,
        PRIMARY KEY (operation, token)
    ) STRICT;
INSERT INTO "client_tokens" VALUES('CreateProject','tttttttttttttttttttttttttttttttt','digest','{"ok":true}',1760000000.0);
CREATE TABLE datasets (
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('train', 'test')),
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        source_bucket TEXT,
        source_key TEXT,
        source_version TEXT,
        pending_changes BLOB,
        PRIMARY KEY (project_id, kind)
    ) STRICT;
INSERT INTO "datasets" VALUES(2,'train',1760000000.0,1760000002.0,'UPDATE_IN_PROGRESS','The changes are being applied.','parts','train.manifest',NULL,X'7B22736F757263652D726566223A202273333A2F2F70617274732F332E706E67227D');
CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        source_ref TEXT NOT NULL,
        line TEXT NOT NULL,
        label TEXT CHECK (label IN ('normal', 'anomaly')),
        labelled_at REAL NOT NULL,
        UNIQUE (project_id, kind, source_ref),
        FOREIGN KEY (project_id, kind) REFERENCES datasets ON DELETE CASCADE
    ) STRICT;
INSERT INTO "entries" VALUES(1,2,'train','s3://parts/0.png','{"source-ref":"s3://parts/0.png","anomaly-label":0,"anomaly-label-metadata":{"class-name":"normal","type":"groundtruth/image-classification"}}','normal',1760000000.0);
INSERT INTO "entries" VALUES(2,2,'train','s3://parts/1.png','{"source-ref":"s3://parts/1.png","anomaly-label":1,"anomaly-label-metadata":{"class-name":"anomaly","type":"groundtruth/image-classification"}}','anomaly',1760000000.0);
INSERT INTO "entries" VALUES(3,2,'train','s3://parts/2.png','{"source-ref":"s3://parts/2.png"}',NULL,1760000000.0);
CREATE TABLE imported_archives (
        sha256 TEXT PRIMARY KEY,
        model_id TEXT NOT NULL,
        model_name TEXT NOT NULL
    ) STRICT;
INSERT INTO "imported_archives" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm','flange/1');
CREATE TABLE models (
        id TEXT PRIMARY KEY,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        version INTEGER NOT NULL,
        arn TEXT NOT NULL UNIQUE,
        description TEXT,
        kms_key_id TEXT,
        created_at REAL NOT NULL,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        output_bucket TEXT NOT NULL,
        output_prefix TEXT,
        training_starts INTEGER NOT NULL DEFAULT 0,
        f1 REAL,
        precision REAL,
        recall REAL,
        evaluated_at REAL,
        evaluation_manifest_key TEXT,
        evaluation_result_key TEXT,
        min_units INTEGER,
        max_units INTEGER,
        archive_sha256 TEXT,
        UNIQUE (project_id, version)
    ) STRICT;
INSERT INTO "models" VALUES('mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm',2,1,'arn:aws:lookoutvision:us-east-1:000000000000:model/flange/1','first',NULL,1760000000.0,'TRAINED','Training completed. It had few images.','parts','out/',0,0.5,1.0,NULL,1760000003.0,'out/manifest','out/result',NULL,NULL,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa');
CREATE TABLE packaging_jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        configuration TEXT NOT NULL,
        description TEXT,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL, region TEXT,
        UNIQUE (project_id, name)
    ) STRICT;
INSERT INTO "packaging_jobs" VALUES(1,2,'job',1,'{"Greengrass":{"S3OutputLocation":{"Bucket":"parts","Prefix":"p/"},"ComponentName":"c","ComponentVersion":"1.0.0"}}',NULL,'SUCCEEDED','The component is packed.',1760000000.0,1760000004.0,'us-east-1');
CREATE TABLE project_ids (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;
INSERT INTO "project_ids" VALUES(2);
CREATE TABLE projects (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        arn TEXT NOT NULL,
        created_at REAL NOT NULL,
        last_version INTEGER NOT NULL DEFAULT 0
    ) STRICT;
INSERT INTO "projects" VALUES(2,'flange','arn:aws:lookoutvision:us-east-1:000000000000:project/flange',1760000000.0,1);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
INSERT INTO "secrets" VALUES('page-tokens',X'0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE tags (
        model_id TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (model_id, key)
    ) STRICT;
INSERT INTO "tags" VALUES('mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm','line','7');
CREATE INDEX client_tokens_by_age ON client_tokens (created_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('project_ids',2);
INSERT INTO "sqlite_sequence" VALUES('entries',3);
INSERT INTO "sqlite_sequence" VALUES('packaging_jobs',1);
COMMIT;
PRAGMA user_version = 3;
