-- A SQLite database of the last development version before 0.1.0, with a project of ada@example.com. See tests/it/unsquashed.rs.

PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" integer NOT NULL );
INSERT INTO seaql_migrations VALUES('m20261123_000001_tables',1796005990);
INSERT INTO seaql_migrations VALUES('m20261123_000002_views',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000003_row_security',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000004_pasts',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000005_heads',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000007_team',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000008_locks',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000009_streaming',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000011_histories',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000012_addresses',1796005990);
INSERT INTO seaql_migrations VALUES('m20261124_000013_presences',1796005990);
INSERT INTO seaql_migrations VALUES('m20261128_000014_clustered',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000015_second_lock',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000016_head_times',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000020_exact',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000030_exact_json',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000031_profile_sources',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000044_named_snapshots',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000045_undone_files',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000050_token_times',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000060_version_numbers',1796005990);
INSERT INTO seaql_migrations VALUES('m20261129_000061_ended_sessions',1796005990);
CREATE TABLE user_profiles (id uuid_text PRIMARY KEY,email text,full_name text,avatar_url text,created_at timestamp_with_timezone_text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL, own_full_name boolean NOT NULL DEFAULT false, own_avatar_url boolean NOT NULL DEFAULT false, claims_at timestamp_with_timezone_text) WITHOUT ROWID;
INSERT INTO user_profiles VALUES(X'5ff860bf119085968c7188ab851db691','bob@example.com','bob',NULL,'2026-11-30T02:33:10.483948+00:00','2026-11-30T02:33:10.483948+00:00',0,0,NULL);
INSERT INTO user_profiles VALUES(X'b5fc85e557558f9e80d030a10ab4429b','ada@example.com','ada',NULL,'2026-11-30T02:33:10.373941+00:00','2026-11-30T02:33:10.373941+00:00',0,0,NULL);
INSERT INTO user_profiles VALUES(X'd0574c4966d28c3286193622feebc649','eve@example.com','eve',NULL,'2026-11-30T02:33:10.536380+00:00','2026-11-30T02:33:10.536380+00:00',0,0,NULL);
CREATE TABLE user_preferences (user_id uuid_text PRIMARY KEY REFERENCES user_profiles (id) ON DELETE CASCADE,editor_theme text NOT NULL,auto_save_enabled boolean NOT NULL,notification_preferences jsonb_text NOT NULL,ui_preferences jsonb_text NOT NULL,created_at timestamp_with_timezone_text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL) WITHOUT ROWID;
INSERT INTO user_preferences VALUES(X'5ff860bf119085968c7188ab851db691','vs-dark',1,'{}','{}','2026-11-30T02:33:10.483948+00:00','2026-11-30T02:33:10.483948+00:00');
INSERT INTO user_preferences VALUES(X'b5fc85e557558f9e80d030a10ab4429b','light',1,'{}','{}','2026-11-30T02:33:10.373941+00:00','2026-11-30T02:33:10.646368+00:00');
INSERT INTO user_preferences VALUES(X'd0574c4966d28c3286193622feebc649','vs-dark',1,'{}','{}','2026-11-30T02:33:10.536380+00:00','2026-11-30T02:33:10.536380+00:00');
CREATE TABLE projects (id uuid_text PRIMARY KEY,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,name text NOT NULL,description text,initial_prompt text NOT NULL,config jsonb_text NOT NULL,status text NOT NULL CHECK (status IN ('active', 'archived', 'deleted')),revision integer NOT NULL,session_count integer NOT NULL,message_count integer NOT NULL,file_count integer NOT NULL,change_count integer NOT NULL,created_at timestamp_with_timezone_text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL,last_accessed_at timestamp_with_timezone_text NOT NULL,last_session_at timestamp_with_timezone_text,last_activity_at timestamp_with_timezone_text NOT NULL);
INSERT INTO projects VALUES(X'01a22a4c912d7240ab270e4eea25ee30',X'b5fc85e557558f9e80d030a10ab4429b','From before, renamed',NULL,'You are a helpful assistant.','{"a":1.0}','active',28,1,5,2,9,'2026-11-30T02:33:10.701637+00:00','2026-11-30T02:33:11.185119+00:00','2026-11-30T02:33:10.701637+00:00','2026-11-30T02:33:10.733216+00:00','2026-11-30T02:33:11.521858+00:00');
CREATE TABLE project_collaborators (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,role text NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),invited_by uuid_text REFERENCES user_profiles (id) ON DELETE SET NULL,invited_at timestamp_with_timezone_text NOT NULL,accepted_at timestamp_with_timezone_text,PRIMARY KEY (project_id, user_id)) WITHOUT ROWID;
INSERT INTO project_collaborators VALUES(X'01a22a4c912d7240ab270e4eea25ee30',X'd0574c4966d28c3286193622feebc649','viewer',X'b5fc85e557558f9e80d030a10ab4429b','2026-11-30T02:33:11.437758+00:00','2026-11-30T02:33:11.457374+00:00');
CREATE TABLE chat_sessions (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,revision integer NOT NULL,title text,started_at timestamp_with_timezone_text NOT NULL,ended_at timestamp_with_timezone_text,message_count integer NOT NULL,is_active boolean NOT NULL,metadata jsonb_text NOT NULL) WITHOUT ROWID;
INSERT INTO chat_sessions VALUES(X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c912d7240ab270e4eea25ee30',X'b5fc85e557558f9e80d030a10ab4429b',2,NULL,'2026-11-30T02:33:10.733216+00:00',NULL,5,1,'{}');
CREATE TABLE chat_messages (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,session_id uuid_text NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,revision integer NOT NULL,role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),content text NOT NULL,timestamp timestamp_with_timezone_text NOT NULL,is_checkpoint boolean NOT NULL,context_data jsonb_text NOT NULL,metadata jsonb_text NOT NULL,idempotency_key text,folded_revision integer);
INSERT INTO chat_messages VALUES(X'01a22a4c918b7792a2be34bda83506cc',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b',3,'assistant','Hello, with a checkpoint 🎉','2026-11-30T02:33:10.779670+00:00',1,'{}','{"n":[1.5,2]}',NULL,NULL);
INSERT INTO chat_messages VALUES(X'01a22a4c9250768088af87973ad82be0',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b',10,'assistant','A hidden message','2026-11-30T02:33:10.991287+00:00',0,'{}','{"n":[1.5,2]}',NULL,12);
INSERT INTO chat_messages VALUES(X'01a22a4c925975d49eb2a4458fa86a2c',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b',11,'assistant','Another hidden message','2026-11-30T02:33:11.000319+00:00',0,'{}','{"n":[1.5,2]}',NULL,12);
INSERT INTO chat_messages VALUES(X'01a22a4c928c740dbcd80bcfde229e58',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b',13,'assistant','After the restore','2026-11-30T02:33:11.030636+00:00',0,'{}','{"n":[1.5,2]}',NULL,NULL);
INSERT INTO chat_messages VALUES(X'01a22a4c92b97345b03e8e2dd0de394c',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b',14,'assistant','Hidden and shown again','2026-11-30T02:33:11.078894+00:00',0,'{}','{"n":[1.5,2]}',NULL,NULL);
CREATE TABLE project_files (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,file_path text  NOT NULL,file_name text NOT NULL,parent_path text,file_type text NOT NULL CHECK (file_type IN ('file', 'folder')),language text,size_bytes integer NOT NULL,version integer NOT NULL,hash blob,is_deleted boolean NOT NULL,created_at timestamp_with_timezone_text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL, mode smallint NOT NULL DEFAULT 0, version_offset integer NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO project_files VALUES(X'01a22a4c91c074cbadac08630987410f',X'01a22a4c912d7240ab270e4eea25ee30','src/main.py','main.py','src','file','python',248,2,X'c9fb45a3fc7382099daad6f624400407b771a24e1f3775b6315eeb72c96fa3bf',0,'2026-11-30T02:33:10.835184+00:00','2026-11-30T02:33:10.874466+00:00',0,0);
INSERT INTO project_files VALUES(X'01a22a4c9205721786f279e9741070ec',X'01a22a4c912d7240ab270e4eea25ee30','empty','empty',NULL,'folder',NULL,0,1,NULL,0,'2026-11-30T02:33:10.902821+00:00','2026-11-30T02:33:10.902821+00:00',0,0);
INSERT INTO project_files VALUES(X'01a22a4c9228732a9e6c6f09d80e119e',X'01a22a4c912d7240ab270e4eea25ee30','c.txt','c.txt',NULL,'file','plaintext',2,2,X'87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7',0,'2026-11-30T02:33:10.939129+00:00','2026-11-30T02:33:10.970894+00:00',0,0);
INSERT INTO project_files VALUES(X'01a22a4c9228732a9e6c6f0bec1b38ef',X'01a22a4c912d7240ab270e4eea25ee30','b.txt','b.txt',NULL,'file','plaintext',0,2,NULL,1,'2026-11-30T02:33:10.939129+00:00','2026-11-30T02:33:10.978309+00:00',0,0);
INSERT INTO project_files VALUES(X'01a22a4c931f708bbe22372f8af02066',X'01a22a4c912d7240ab270e4eea25ee30','undone.py','undone.py',NULL,'file','python',0,2,NULL,1,'2026-11-30T02:33:11.198086+00:00','2026-11-30T02:33:11.207469+00:00',0,0);
CREATE TABLE blobs (id integer PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,sha256 blob NOT NULL,size integer NOT NULL,encoding smallint NOT NULL,depth smallint NOT NULL,base_id bigint REFERENCES blobs (id) ON DELETE CASCADE,data blob NOT NULL);
INSERT INTO blobs VALUES(1,X'01a22a4c912d7240ab270e4eea25ee30',X'7f495c9a8fa28e14815aa9b39827ef611bea5815f0b9a4bfee7c016719fc5a29',230,1,0,NULL,X'28b52ffd20e6b50100e86c696e652030206f66207468652066696c650a313233343536373839310ca04078ff1eb023ebc3c8c2b4e7e9791e8fe7b5a7b55606');
INSERT INTO blobs VALUES(2,X'01a22a4c912d7240ab270e4eea25ee30',X'c9fb45a3fc7382099daad6f624400407b771a24e1f3775b6315eeb72c96fa3bf',248,2,1,1,X'28b52ffd20f8cd0000907072696e7428226f6e65206d6f726522290a0100e3346580');
INSERT INTO blobs VALUES(3,X'01a22a4c912d7240ab270e4eea25ee30',X'87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7',2,0,0,NULL,X'610a');
INSERT INTO blobs VALUES(4,X'01a22a4c912d7240ab270e4eea25ee30',X'0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f',2,0,0,NULL,X'620a');
INSERT INTO blobs VALUES(5,X'01a22a4c912d7240ab270e4eea25ee30',X'4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865',2,0,0,NULL,X'310a');
CREATE TABLE file_snapshots (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,file_id uuid_text NOT NULL REFERENCES project_files (id) ON DELETE CASCADE,revision integer NOT NULL,superseded_revision integer,version integer NOT NULL,additions integer NOT NULL,deletions integer NOT NULL,blob_id bigint REFERENCES blobs (id) ON DELETE CASCADE,change_type text NOT NULL CHECK (change_type IN ('create', 'update', 'delete', 'rename')),path text  NOT NULL, mode smallint NOT NULL DEFAULT 0, restored_version integer, version_offset integer NOT NULL DEFAULT 0);
INSERT INTO file_snapshots VALUES(X'01a22a4c91c074cbadac08642880674c',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c91c074cbadac08630987410f',4,5,1,12,0,1,'create','src/main.py',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c91e67528b8ed26a1fed0e6f4',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c91c074cbadac08630987410f',5,NULL,2,1,0,2,'update','src/main.py',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c9205721786f279eab1b183a8',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c9205721786f279e9741070ec',6,NULL,1,0,0,NULL,'create','empty',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c9228732a9e6c6f0a044855ff',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c9228732a9e6c6f09d80e119e',7,8,1,1,0,3,'create','a.txt',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c9228732a9e6c6f0c14a67333',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c9228732a9e6c6f0bec1b38ef',7,9,1,1,0,4,'create','b.txt',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c923c74a8841652e6feabbd6a',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c9228732a9e6c6f09d80e119e',8,NULL,2,0,0,3,'rename','c.txt',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c9244728c8bdf382bfce4c716',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c9228732a9e6c6f0bec1b38ef',9,NULL,2,0,1,NULL,'delete','b.txt',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c931f708bbe223730fca166ba',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c931f708bbe22372f8af02066',18,19,1,1,0,5,'create','undone.py',0,NULL,0);
INSERT INTO file_snapshots VALUES(X'01a22a4c93347406b491454cfaf64a20',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c931f708bbe22372f8af02066',19,NULL,2,0,1,NULL,'delete','undone.py',0,NULL,0);
CREATE TABLE project_snapshots (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,created_revision integer NOT NULL,file_count integer NOT NULL,manifest_sha256 blob NOT NULL,name text,description text, deleted_revision integer) WITHOUT ROWID;
INSERT INTO project_snapshots VALUES(X'01a22a4c918b7792a2be34be9ba68c71',X'01a22a4c912d7240ab270e4eea25ee30',5,3,1,X'6f62444e77a94bcce3aea21dadc9470e3f31958e3bc5b991aae2f3ce6d2b3c5d',NULL,NULL,NULL);
INSERT INTO project_snapshots VALUES(X'01a22a4c9260728d8e18ea169d6abb22',X'01a22a4c912d7240ab270e4eea25ee30',11,12,2,X'7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb','Pre-restore backup',NULL,NULL);
INSERT INTO project_snapshots VALUES(X'01a22a4c92dc75e592c8f6f54b703368',X'01a22a4c912d7240ab270e4eea25ee30',14,15,2,X'7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb','Pre-restore backup',NULL,NULL);
INSERT INTO project_snapshots VALUES(X'01a22a4c9355757e85a2df5faeaf01c2',X'01a22a4c912d7240ab270e4eea25ee30',20,20,2,X'7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb','Named',NULL,NULL);
CREATE TABLE project_events (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,kind text NOT NULL,actor_id uuid_text REFERENCES user_profiles (id) ON DELETE SET NULL,session_id uuid_text REFERENCES chat_sessions (id) ON DELETE SET NULL,message_id uuid_text REFERENCES chat_messages (id) ON DELETE SET NULL,description text,created_at timestamp_with_timezone_text NOT NULL,PRIMARY KEY (project_id, revision)) WITHOUT ROWID;
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',1,'PROJECT_CREATED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:10.701637+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',2,'SESSION_STARTED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',NULL,NULL,'2026-11-30T02:33:10.733216+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',3,'MESSAGE_ADDED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c918b7792a2be34bda83506cc',NULL,'2026-11-30T02:33:10.779670+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',4,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c918b7792a2be34bda83506cc',NULL,'2026-11-30T02:33:10.835184+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',5,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c918b7792a2be34bda83506cc',NULL,'2026-11-30T02:33:10.874466+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',6,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:10.902821+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',7,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',NULL,NULL,'2026-11-30T02:33:10.939129+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',8,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:10.970894+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',9,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:10.978309+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',10,'MESSAGE_ADDED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c9250768088af87973ad82be0',NULL,'2026-11-30T02:33:10.991287+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',11,'MESSAGE_ADDED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c925975d49eb2a4458fa86a2c',NULL,'2026-11-30T02:33:11.000319+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',12,'PROJECT_RESTORED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',NULL,NULL,'2026-11-30T02:33:11.006958+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',13,'MESSAGE_ADDED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c928c740dbcd80bcfde229e58',NULL,'2026-11-30T02:33:11.030636+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',14,'MESSAGE_ADDED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',X'01a22a4c92b97345b03e8e2dd0de394c',NULL,'2026-11-30T02:33:11.078894+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',15,'PROJECT_RESTORED',X'b5fc85e557558f9e80d030a10ab4429b',X'01a22a4c915c747bbaa4bf301520343d',NULL,NULL,'2026-11-30T02:33:11.113132+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',16,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,'Undo of revision 15','2026-11-30T02:33:11.158583+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',17,'PROJECT_UPDATED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.185119+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',18,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.198086+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',19,'FILES_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,'Undo of revision 18','2026-11-30T02:33:11.207469+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',20,'SNAPSHOT_CREATED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.243087+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',21,'SNAPSHOT_UPDATED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.288554+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',22,'AGENT_CONFIGURATION_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.294759+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',23,'COLLABORATORS_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.342863+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',24,'COLLABORATORS_CHANGED',X'5ff860bf119085968c7188ab851db691',NULL,NULL,NULL,'2026-11-30T02:33:11.374879+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',25,'COLLABORATORS_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.437758+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',26,'COLLABORATORS_CHANGED',X'd0574c4966d28c3286193622feebc649',NULL,NULL,NULL,'2026-11-30T02:33:11.457374+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',27,'COLLABORATORS_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.481994+00:00');
INSERT INTO project_events VALUES(X'01a22a4c912d7240ab270e4eea25ee30',28,'COLLABORATORS_CHANGED',X'b5fc85e557558f9e80d030a10ab4429b',NULL,NULL,NULL,'2026-11-30T02:33:11.521858+00:00');
CREATE TABLE chat_folds (message_id uuid_text NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,revision integer NOT NULL,superseded_revision integer,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,PRIMARY KEY (message_id, revision)) WITHOUT ROWID;
INSERT INTO chat_folds VALUES(X'01a22a4c9250768088af87973ad82be0',12,NULL,X'01a22a4c912d7240ab270e4eea25ee30');
INSERT INTO chat_folds VALUES(X'01a22a4c925975d49eb2a4458fa86a2c',12,NULL,X'01a22a4c912d7240ab270e4eea25ee30');
INSERT INTO chat_folds VALUES(X'01a22a4c92b97345b03e8e2dd0de394c',15,16,X'01a22a4c912d7240ab270e4eea25ee30');
CREATE TABLE project_versions (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,superseded_revision integer NOT NULL,name text NOT NULL,description text,initial_prompt text NOT NULL,config jsonb_text NOT NULL,status text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL,PRIMARY KEY (project_id, superseded_revision)) WITHOUT ROWID;
INSERT INTO project_versions VALUES(X'01a22a4c912d7240ab270e4eea25ee30',17,'From before',NULL,'You are a helpful assistant.','{"a":1.0}','active','2026-11-30T02:33:10.701637+00:00');
CREATE TABLE project_invitations (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,email text NOT NULL,role text NOT NULL CHECK (role IN ('editor', 'viewer')),invited_by uuid_text REFERENCES user_profiles (id) ON DELETE SET NULL,invited_at timestamp_with_timezone_text NOT NULL,PRIMARY KEY (project_id, email)) WITHOUT ROWID;
INSERT INTO project_invitations VALUES(X'01a22a4c912d7240ab270e4eea25ee30','carol@example.com','viewer',X'b5fc85e557558f9e80d030a10ab4429b','2026-11-30T02:33:11.521858+00:00');
CREATE TABLE project_former_collaborators (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,left_at timestamp_with_timezone_text NOT NULL,PRIMARY KEY (project_id, user_id)) WITHOUT ROWID;
INSERT INTO project_former_collaborators VALUES(X'01a22a4c912d7240ab270e4eea25ee30',X'5ff860bf119085968c7188ab851db691','2026-11-30T02:33:11.481994+00:00');
CREATE TABLE growing_messages (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,session_id uuid_text NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),length integer NOT NULL,started_at timestamp_with_timezone_text NOT NULL,last_append_at timestamp_with_timezone_text NOT NULL,context_data jsonb_text NOT NULL,metadata jsonb_text NOT NULL,idempotency_key text) WITHOUT ROWID;
INSERT INTO growing_messages VALUES(X'01a22a4c9484773dbc85069cf0426857',X'01a22a4c912d7240ab270e4eea25ee30',X'01a22a4c915c747bbaa4bf301520343d',X'b5fc85e557558f9e80d030a10ab4429b','assistant',15,'2026-11-30T02:33:11.556584+00:00','2026-11-30T02:33:11.608992+00:00','{}','{}','k1');
CREATE TABLE growing_chunks (message_id uuid_text NOT NULL REFERENCES growing_messages (id) ON DELETE CASCADE,start integer NOT NULL,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,text text NOT NULL,PRIMARY KEY (message_id, start)) WITHOUT ROWID;
INSERT INTO growing_chunks VALUES(X'01a22a4c9484773dbc85069cf0426857',0,X'01a22a4c912d7240ab270e4eea25ee30','So far');
INSERT INTO growing_chunks VALUES(X'01a22a4c9484773dbc85069cf0426857',6,X'01a22a4c912d7240ab270e4eea25ee30',', so good');
CREATE TABLE agent_configurations (id uuid_text PRIMARY KEY,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,user_id uuid_text NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,config_name text NOT NULL,description text,stt_provider text NOT NULL,stt_model text NOT NULL,stt_config jsonb_text NOT NULL,tts_provider text NOT NULL,tts_model text NOT NULL,tts_config jsonb_text NOT NULL,llm_provider text NOT NULL,llm_model text NOT NULL,llm_config jsonb_text NOT NULL,vad_provider text NOT NULL,vad_config jsonb_text NOT NULL,turn_detection_config jsonb_text NOT NULL,function_calls jsonb_text NOT NULL,tool_integrations jsonb_text NOT NULL,agent_instructions text NOT NULL,agent_personality jsonb_text NOT NULL,required_env_vars jsonb_text NOT NULL,dependencies jsonb_text NOT NULL,source_files jsonb_text NOT NULL,is_active boolean NOT NULL,version integer NOT NULL,created_at timestamp_with_timezone_text NOT NULL,updated_at timestamp_with_timezone_text NOT NULL) WITHOUT ROWID;
INSERT INTO agent_configurations VALUES(X'01a22a4c93857608a02790ad8ee9d12e',X'01a22a4c912d7240ab270e4eea25ee30',X'b5fc85e557558f9e80d030a10ab4429b','Agent',NULL,'deepgram','nova-2','{}','elevenlabs','turbo','{}','openai','gpt-4','{}','silero','{}','{}','[]','[]','Be kind.','{}','[]','[]','{}',1,1,'2026-11-30T02:33:11.294759+00:00','2026-11-30T02:33:11.294759+00:00');
CREATE TABLE agent_configuration_versions (configuration_id uuid_text NOT NULL REFERENCES agent_configurations (id) ON DELETE CASCADE,version integer NOT NULL,project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,superseded_revision integer,is_deletion boolean NOT NULL,is_active boolean NOT NULL,config_name text NOT NULL,description text,stt_provider text NOT NULL,stt_model text NOT NULL,stt_config jsonb_text NOT NULL,tts_provider text NOT NULL,tts_model text NOT NULL,tts_config jsonb_text NOT NULL,llm_provider text NOT NULL,llm_model text NOT NULL,llm_config jsonb_text NOT NULL,vad_provider text NOT NULL,vad_config jsonb_text NOT NULL,turn_detection_config jsonb_text NOT NULL,function_calls jsonb_text NOT NULL,tool_integrations jsonb_text NOT NULL,agent_instructions text NOT NULL,agent_personality jsonb_text NOT NULL,required_env_vars jsonb_text NOT NULL,dependencies jsonb_text NOT NULL,source_files jsonb_text NOT NULL,PRIMARY KEY (configuration_id, version)) WITHOUT ROWID;
INSERT INTO agent_configuration_versions VALUES(X'01a22a4c93857608a02790ad8ee9d12e',1,X'01a22a4c912d7240ab270e4eea25ee30',22,NULL,0,1,'Agent',NULL,'deepgram','nova-2','{}','elevenlabs','turbo','{}','openai','gpt-4','{}','silero','{}','{}','[]','[]','Be kind.','{}','[]','[]','{}');
CREATE TABLE project_undos (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,undone_revision integer NOT NULL,PRIMARY KEY (project_id, revision, undone_revision)) WITHOUT ROWID;
INSERT INTO project_undos VALUES(X'01a22a4c912d7240ab270e4eea25ee30',16,15);
INSERT INTO project_undos VALUES(X'01a22a4c912d7240ab270e4eea25ee30',19,18);
CREATE TABLE project_snapshot_changes (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,snapshot_id uuid_text NOT NULL REFERENCES project_snapshots (id) ON DELETE CASCADE,PRIMARY KEY (project_id, revision)) WITHOUT ROWID;
INSERT INTO project_snapshot_changes VALUES(X'01a22a4c912d7240ab270e4eea25ee30',21,X'01a22a4c9355757e85a2df5faeaf01c2');
CREATE TABLE project_undone_files (project_id uuid_text NOT NULL REFERENCES projects (id) ON DELETE CASCADE,revision integer NOT NULL,undone_revision integer NOT NULL,file_id uuid_text NOT NULL,PRIMARY KEY (project_id, revision, undone_revision, file_id)) WITHOUT ROWID;
INSERT INTO project_undone_files VALUES(X'01a22a4c912d7240ab270e4eea25ee30',19,18,X'01a22a4c931f708bbe22372f8af02066');
CREATE INDEX projects_user ON projects (user_id, updated_at);
CREATE INDEX project_collaborators_user ON project_collaborators (user_id);
CREATE INDEX chat_sessions_project ON chat_sessions (project_id, revision);
CREATE UNIQUE INDEX chat_sessions_active ON chat_sessions (project_id, user_id) WHERE is_active;
CREATE UNIQUE INDEX chat_messages_session ON chat_messages (session_id, revision);
CREATE UNIQUE INDEX chat_messages_idempotency ON chat_messages (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX chat_messages_folded ON chat_messages (project_id, folded_revision) WHERE folded_revision IS NOT NULL;
CREATE INDEX project_files_path ON project_files (project_id, file_path);
CREATE UNIQUE INDEX blobs_sha256 ON blobs (project_id, sha256);
CREATE UNIQUE INDEX file_snapshots_version ON file_snapshots (file_id, version);
CREATE INDEX file_snapshots_revision ON file_snapshots (project_id, revision);
CREATE UNIQUE INDEX file_snapshots_open_path ON file_snapshots (project_id, path) WHERE superseded_revision IS NULL AND change_type <> 'delete';
CREATE UNIQUE INDEX project_snapshots_created ON project_snapshots (project_id, created_revision);
CREATE INDEX project_events_message ON project_events (message_id) WHERE message_id IS NOT NULL AND kind IN ('FILES_CHANGED', 'PROJECT_RESTORED');
CREATE INDEX project_events_session ON project_events (session_id, revision) WHERE session_id IS NOT NULL AND kind IN ('FILES_CHANGED', 'PROJECT_RESTORED');
CREATE TRIGGER chat_messages_added AFTER INSERT ON chat_messages BEGIN
UPDATE chat_sessions SET message_count = message_count + 1 WHERE id = NEW.session_id;
END;
CREATE TRIGGER chat_messages_removed AFTER DELETE ON chat_messages BEGIN
UPDATE chat_sessions SET message_count = message_count - 1 WHERE id = OLD.session_id;
END;
CREATE VIEW project_overview  AS
SELECT p.id, p.user_id, p.name, p.description, p.initial_prompt, p.config, p.status, p.revision,p.created_at, p.updated_at, p.last_accessed_at,p.session_count AS total_sessions,p.message_count AS total_messages,p.file_count AS total_files,p.change_count AS total_changes,p.last_session_at AS latest_session_date,p.last_activity_at AS last_activity
FROM projects p
WHERE p.status <> 'deleted';
CREATE VIEW recent_chat_activity  AS
SELECT m.id, m.user_id, u.full_name AS user_name, m.project_id, p.name AS project_name, m.session_id, m.role,substr(m.content, 1, 200) AS content, m.timestamp, m.is_checkpoint, m.context_data, m.metadata
FROM chat_messages m
JOIN projects p ON p.id = m.project_id
JOIN user_profiles u ON u.id = m.user_id
WHERE p.status = 'active' AND m.folded_revision IS NULL;
CREATE VIEW file_change_history  AS
SELECT unhex(substr(hex(v.id), 1, 12) || '8' || substr(hex(v.id), 14)) AS id, v.project_id, e.session_id, e.message_id, v.file_id, v.change_type,v.id AS snapshot_id, v.version, v.revision, v.additions, v.deletions, e.created_at,v.path AS file_path, f.file_name, p.name AS project_name, m.content AS message_content,e.created_at AS change_timestamp, e.actor_id AS created_by_user_id, u.full_name AS created_by_user_name,e.description AS change_description
FROM file_snapshots v
JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
JOIN project_files f ON f.id = v.file_id
JOIN projects p ON p.id = v.project_id
LEFT JOIN chat_messages m ON m.id = e.message_id
LEFT JOIN user_profiles u ON u.id = e.actor_id;
CREATE VIEW user_activity_summary  AS
SELECT u.id AS user_id, u.full_name,coalesce(t.total_projects, 0) AS total_projects,coalesce(t.total_sessions, 0) AS total_sessions,coalesce(t.total_messages, 0) AS total_messages,coalesce(t.total_files, 0) AS total_files,coalesce(t.total_changes, 0) AS total_changes,t.last_activity
FROM user_profiles u
LEFT JOIN (SELECT p.user_id, count(*) AS total_projects, sum(p.session_count) AS total_sessions,sum(p.message_count) AS total_messages, sum(p.file_count) AS total_files,sum(p.change_count) AS total_changes, max(p.last_activity_at) AS last_activity
FROM projects p WHERE p.status <> 'deleted' GROUP BY p.user_id) t ON t.user_id = u.id;
CREATE VIEW project_collaboration_overview  AS
SELECT p.id AS project_id, p.name AS project_name, p.user_id AS owner_id, u.full_name AS owner_name,(SELECT count(*) FROM project_collaborators c WHERE c.project_id = p.id AND c.accepted_at IS NOT NULL) AS total_collaborators,p.session_count AS total_sessions, p.message_count AS total_messages, p.last_activity_at AS last_activity
FROM projects p
JOIN user_profiles u ON u.id = p.user_id
WHERE p.status = 'active';
CREATE VIEW file_version_history  AS
SELECT v.id AS snapshot_id, v.file_id, v.path AS file_path, f.file_name, v.project_id, p.name AS project_name,v.version, v.revision, e.description AS change_description, e.created_at, e.actor_id AS created_by_user_id,u.full_name AS created_by_user_name, s.title AS session_title, b.size AS content_size,v.additions + v.deletions AS diff_size
FROM file_snapshots v
JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
JOIN project_files f ON f.id = v.file_id
JOIN projects p ON p.id = v.project_id
LEFT JOIN blobs b ON b.id = v.blob_id
LEFT JOIN chat_sessions s ON s.id = e.session_id
LEFT JOIN user_profiles u ON u.id = e.actor_id;
CREATE INDEX chat_folds_revision ON chat_folds (project_id, revision);
CREATE INDEX chat_folds_superseded ON chat_folds (project_id, superseded_revision) WHERE superseded_revision IS NOT NULL;
CREATE INDEX project_invitations_email ON project_invitations (email);
CREATE INDEX project_former_collaborators_user ON project_former_collaborators (user_id);
CREATE VIEW pending_invitations AS
SELECT c.project_id, p.name AS project_name, c.user_id, CAST(NULL AS text) AS email, c.role, c.invited_at,u.id AS inviter_id, u.full_name AS inviter_name, u.avatar_url AS inviter_avatar_url,u.created_at AS inviter_created_at, u.updated_at AS inviter_updated_at
FROM project_collaborators c
JOIN projects p ON p.id = c.project_id
LEFT JOIN user_profiles u ON u.id = c.invited_by
WHERE c.accepted_at IS NULL AND p.status <> 'deleted'
UNION ALL
SELECT i.project_id, p.name, NULL, i.email, i.role, i.invited_at,u.id, u.full_name, u.avatar_url, u.created_at, u.updated_at
FROM project_invitations i
JOIN projects p ON p.id = i.project_id
LEFT JOIN user_profiles u ON u.id = i.invited_by
WHERE p.status <> 'deleted';
CREATE UNIQUE INDEX growing_messages_session ON growing_messages (session_id, idempotency_key);
CREATE INDEX agent_configurations_project ON agent_configurations (project_id);
CREATE UNIQUE INDEX agent_configurations_active ON agent_configurations (project_id) WHERE is_active;
CREATE INDEX agent_configuration_versions_revision ON agent_configuration_versions (project_id, revision);
CREATE INDEX file_snapshots_arrival ON file_snapshots (project_id, path) WHERE change_type IN ('create', 'rename');
COMMIT;
