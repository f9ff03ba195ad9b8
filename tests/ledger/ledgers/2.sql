-- A ledger of schema 2, as that version wrote it.
PRAGMA application_id = 0x54534C4F;
BEGIN TRANSACTION;
CREATE TABLE bad_runs (
	namespace TEXT NOT NULL, 
	slo TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	failure_type TEXT NOT NULL, 
	duration BIGINT NOT NULL, 
	PRIMARY KEY (namespace, slo, close_time, run_id)
)
 WITHOUT ROWID

;
CREATE TABLE closed_minutes (
	namespace TEXT NOT NULL, 
	minute INTEGER NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, minute, workflow_type, task_queue, status, outcome, bucket)
)
 WITHOUT ROWID

;
INSERT INTO "closed_minutes" VALUES('shop',28333333,'Ride','rides','completed','good',10000,1);
INSERT INTO "closed_minutes" VALUES('shop',28333333,'Ride','rides','failed','none',10000,1);
CREATE TABLE closed_totals (namespace TEXT NOT NULL, epoch INTEGER NOT NULL, workflow_type TEXT NOT NULL, task_queue TEXT NOT NULL, status TEXT NOT NULL, outcome TEXT NOT NULL, bucket BIGINT NOT NULL, count BIGINT NOT NULL, duration BIGINT NOT NULL, PRIMARY KEY (namespace, epoch, workflow_type, task_queue, status, outcome, bucket)) WITHOUT ROWID;
INSERT INTO "closed_totals" VALUES('shop',0,'Ride','rides','completed','good',10000,1,8000000);
INSERT INTO "closed_totals" VALUES('shop',0,'Ride','rides','failed','none',10000,1,6000000);
CREATE TABLE edges (namespace TEXT NOT NULL, list TEXT NOT NULL, lowest BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (namespace, list)) WITHOUT ROWID;
INSERT INTO "edges" VALUES('shop','closed',1700000000000000,1700000010000000);
INSERT INTO "edges" VALUES('shop','running',1700000000000000,1700000004000000);
CREATE TABLE exposed (namespace TEXT NOT NULL, epoch INTEGER NOT NULL, series TEXT NOT NULL, PRIMARY KEY (namespace, epoch, series)) WITHOUT ROWID;
INSERT INTO "exposed" VALUES('shop',0,'a series');
CREATE TABLE failure_totals (namespace TEXT NOT NULL, epoch INTEGER NOT NULL, workflow_type TEXT NOT NULL, status TEXT NOT NULL, failure_type TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (namespace, epoch, workflow_type, status, failure_type)) WITHOUT ROWID;
INSERT INTO "failure_totals" VALUES('shop',0,'Ride','failed','Refused',1);
CREATE TABLE gaps (namespace TEXT NOT NULL, low BIGINT NOT NULL, high BIGINT NOT NULL, PRIMARY KEY (namespace, low)) WITHOUT ROWID;
INSERT INTO "gaps" VALUES('shop',1700000002000000,1700000003000000);
CREATE TABLE ledger ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key")) WITHOUT ROWID;
INSERT INTO "ledger" VALUES('epoch','0');
INSERT INTO "ledger" VALUES('inode','1');
INSERT INTO "ledger" VALUES('program','temporal-slo');
INSERT INTO "ledger" VALUES('schema','2');
CREATE TABLE long_runs (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	due_time BIGINT NOT NULL, 
	close_time BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
CREATE TABLE minute_hours (
	namespace TEXT NOT NULL, 
	slo TEXT NOT NULL, 
	hour INTEGER NOT NULL, 
	observed BIGINT NOT NULL, 
	overdue BIGINT NOT NULL, 
	PRIMARY KEY (namespace, slo, hour)
)
 WITHOUT ROWID

;
CREATE TABLE minute_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	slo TEXT NOT NULL, 
	observed BIGINT NOT NULL, 
	overdue BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, slo)
)
 WITHOUT ROWID

;
CREATE TABLE open_runs (namespace TEXT NOT NULL, run_id TEXT NOT NULL, workflow_id TEXT NOT NULL, workflow_type TEXT NOT NULL, task_queue TEXT NOT NULL, start_time BIGINT NOT NULL, due_time BIGINT NOT NULL, paused INTEGER DEFAULT 0 NOT NULL, PRIMARY KEY (namespace, run_id)) WITHOUT ROWID;
INSERT INTO "open_runs" VALUES('shop','run-4','booking-4','Ride','rides',1700000004000000,1700000004000000,0);
CREATE TABLE other_totals (namespace TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (namespace, epoch, name)) WITHOUT ROWID;
INSERT INTO "other_totals" VALUES('shop',0,'late',1);
CREATE TABLE pending (namespace TEXT NOT NULL, run_id TEXT NOT NULL, workflow_id TEXT NOT NULL, workflow_type TEXT NOT NULL, task_queue TEXT NOT NULL, start_time BIGINT NOT NULL, due_time BIGINT NOT NULL, status TEXT NOT NULL, close_time BIGINT NOT NULL, duration BIGINT NOT NULL, inserted BIGINT NOT NULL, rank INTEGER DEFAULT 1 NOT NULL, PRIMARY KEY (namespace, run_id)) WITHOUT ROWID;
INSERT INTO "pending" VALUES('shop','run-3','booking-3','Ride','rides',1700000003000000,1700000003000000,'failed',1700000010000000,7000000,1700000011000000,0);
CREATE TABLE seen (namespace TEXT NOT NULL, run_id TEXT NOT NULL, close_time BIGINT NOT NULL, inserted BIGINT NOT NULL, PRIMARY KEY (namespace, run_id)) WITHOUT ROWID;
INSERT INTO "seen" VALUES('shop','run-1',1700000009000000,1700000011000000);
INSERT INTO "seen" VALUES('shop','run-2',1700000008000000,1700000011000000);
INSERT INTO "seen" VALUES('shop','run-3',1700000010000000,1700000011000000);
CREATE TABLE started_totals (namespace TEXT NOT NULL, epoch INTEGER NOT NULL, workflow_type TEXT NOT NULL, task_queue TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (namespace, epoch, workflow_type, task_queue)) WITHOUT ROWID;
INSERT INTO "started_totals" VALUES('shop',0,'Ride','rides',4);
CREATE INDEX pending_order ON pending (namespace, rank, inserted, run_id);
COMMIT;
