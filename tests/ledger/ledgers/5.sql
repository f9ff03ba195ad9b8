-- A ledger of schema 5 with rows in every table.
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
INSERT INTO "bad_runs" VALUES('shop','rides',1700000003000000,'run-2','w-2','Ride','failed','none','Refused',12000000);
CREATE TABLE chain_runs (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	start_time BIGINT NOT NULL, 
	due_time BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	execution_start BIGINT NOT NULL, 
	counted_status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	failure_type TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "chain_runs" VALUES('shop','run-7','w-7','Ride','rides',1699999980000000,1699999980000000,'continued_as_new',1699999999000000,19000000,1699999940000000,'continued_as_new','none','',30000);
INSERT INTO "chain_runs" VALUES('shop','run-8','w-8','Ride','rides',1699999980000000,1699999980000000,'failed',1699999999000000,19000000,0,'','','',0);
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
INSERT INTO "closed_minutes" VALUES('shop',28333330,'Ride','rides','completed','good',120000,1);
INSERT INTO "closed_minutes" VALUES('shop',28333333,'Ride','rides','completed','good',30000,1);
INSERT INTO "closed_minutes" VALUES('shop',28333333,'Ride','rides','failed','none',30000,1);
CREATE TABLE closed_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, workflow_type, task_queue, status, outcome, bucket)
)
 WITHOUT ROWID

;
INSERT INTO "closed_totals" VALUES('shop',0,'Ride','rides','completed','good',30000,1,12000000);
INSERT INTO "closed_totals" VALUES('shop',0,'Ride','rides','failed','none',30000,1,12000000);
CREATE TABLE edges (
	namespace TEXT NOT NULL, 
	list TEXT NOT NULL, 
	lowest BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	PRIMARY KEY (namespace, list)
)
 WITHOUT ROWID

;
INSERT INTO "edges" VALUES('shop','audit',1699996400000000,1699998200000000);
INSERT INTO "edges" VALUES('shop','closed',1700000000000000,1700000010000000);
INSERT INTO "edges" VALUES('shop','minutes',1700000000000000,1699999940000000);
INSERT INTO "edges" VALUES('shop','running',1700000000000000,1700000009000000);
CREATE TABLE execution_minutes (
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
INSERT INTO "execution_minutes" VALUES('shop',28333333,'Ride','rides','completed','good',30000,-1);
CREATE TABLE execution_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, workflow_type, task_queue, status, outcome, bucket)
)
 WITHOUT ROWID

;
INSERT INTO "execution_totals" VALUES('shop',0,'Ride','rides','completed','good',30000,-1,-7000000);
CREATE TABLE exposed (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	series TEXT NOT NULL, 
	PRIMARY KEY (namespace, epoch, series)
)
 WITHOUT ROWID

;
INSERT INTO "exposed" VALUES('shop',0,'["temporal_slo_workflows_closed", ["shop"]]');
CREATE TABLE failure_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	workflow_type TEXT NOT NULL, 
	status TEXT NOT NULL, 
	failure_type TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, workflow_type, status, failure_type)
)
 WITHOUT ROWID

;
INSERT INTO "failure_totals" VALUES('shop',0,'Ride','failed','Refused',1);
CREATE TABLE gaps (
	namespace TEXT NOT NULL, 
	low BIGINT NOT NULL, 
	high BIGINT NOT NULL, 
	PRIMARY KEY (namespace, low)
)
 WITHOUT ROWID

;
INSERT INTO "gaps" VALUES('shop',1700000006000000,1700000008000000);
CREATE TABLE ledger (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID

;
INSERT INTO "ledger" VALUES('epoch','0');
INSERT INTO "ledger" VALUES('inode','10428680');
INSERT INTO "ledger" VALUES('program','temporal-slo');
INSERT INTO "ledger" VALUES('schema','5');
CREATE TABLE long_executions (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	execution_start BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "long_executions" VALUES('shop','run-5',1700000005000000,1699999000000000);
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
INSERT INTO "long_runs" VALUES('shop','run-5','Ride','rides',1699999100000000,1700000005000000);
CREATE TABLE measured (
	namespace TEXT NOT NULL, 
	edge BIGINT NOT NULL, 
	since BIGINT NOT NULL, 
	PRIMARY KEY (namespace, edge)
)
 WITHOUT ROWID

;
INSERT INTO "measured" VALUES('shop',90000,1700000000000000);
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
INSERT INTO "minute_hours" VALUES('shop','stuck',472222,7,3);
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
INSERT INTO "minute_totals" VALUES('shop',0,'stuck',7,3);
CREATE TABLE open_runs (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	start_time BIGINT NOT NULL, 
	due_time BIGINT NOT NULL, 
	paused INTEGER NOT NULL, 
	execution_start BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "open_runs" VALUES('shop','run-4','w-4','Ride','rides',1700000004000000,1700000004000000,0,0);
INSERT INTO "open_runs" VALUES('shop','run-6','w-6','Ride','rides',1700000005000000,1700000005000000,1,0);
CREATE TABLE other_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, name)
)
 WITHOUT ROWID

;
INSERT INTO "other_totals" VALUES('shop',0,'gone',4);
INSERT INTO "other_totals" VALUES('shop',0,'late',1);
INSERT INTO "other_totals" VALUES('shop',0,'other_failures',7);
INSERT INTO "other_totals" VALUES('shop',0,'reconciled',6);
INSERT INTO "other_totals" VALUES('shop',0,'repaired',5);
INSERT INTO "other_totals" VALUES('shop',0,'unknown_status',3);
INSERT INTO "other_totals" VALUES('shop',0,'vanished',2);
CREATE TABLE past (
	namespace TEXT NOT NULL, 
	position BIGINT NOT NULL, 
	runs BIGINT NOT NULL, 
	gone BIGINT NOT NULL, 
	unknown BIGINT NOT NULL, 
	swept INTEGER NOT NULL, 
	PRIMARY KEY (namespace)
)
 WITHOUT ROWID

;
INSERT INTO "past" VALUES('shop',1699999750000000,2,0,0,0);
CREATE TABLE past_chain_runs (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	start_time BIGINT NOT NULL, 
	due_time BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	execution_start BIGINT NOT NULL, 
	counted_status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	failure_type TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "past_chain_runs" VALUES('shop','run-9','w-9','Ride','rides',1699999980000000,1699999980000000,'completed',1699999999000000,19000000,0,'completed','none','',30000);
CREATE TABLE past_last_execution_minute (
	namespace TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, workflow_type, task_queue, status, outcome, bucket)
)
 WITHOUT ROWID

;
INSERT INTO "past_last_execution_minute" VALUES('shop','Ride','rides','completed','good',30000,-1);
CREATE TABLE past_last_minute (
	namespace TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	status TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	bucket BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, workflow_type, task_queue, status, outcome, bucket)
)
 WITHOUT ROWID

;
INSERT INTO "past_last_minute" VALUES('shop','Ride','rides','completed','good',120000,1);
CREATE TABLE past_pending (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	start_time BIGINT NOT NULL, 
	due_time BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "past_pending" VALUES('shop','run-8','w-8','Ride','rides',1699999600000000,1699999600000000,'failed',1699999750000000,150000000);
CREATE TABLE past_runs (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "past_runs" VALUES('shop','run-8',1699999750000000);
CREATE TABLE pending (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	workflow_id TEXT NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	start_time BIGINT NOT NULL, 
	due_time BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	duration BIGINT NOT NULL, 
	rank INTEGER NOT NULL, 
	inserted BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "pending" VALUES('shop','run-3','w-3','Ride','rides',1699999992000000,1699999992000000,'terminated',1700000004000000,12000000,1,1700000000000000);
CREATE TABLE seen (
	namespace TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	close_time BIGINT NOT NULL, 
	inserted BIGINT NOT NULL, 
	PRIMARY KEY (namespace, run_id)
)
 WITHOUT ROWID

;
INSERT INTO "seen" VALUES('shop','run-1',1700000002000000,1700000000000000);
INSERT INTO "seen" VALUES('shop','run-2',1700000003000000,1700000000000000);
INSERT INTO "seen" VALUES('shop','run-3',1700000004000000,1700000000000000);
INSERT INTO "seen" VALUES('shop','run-5',1700000005000000,1700000000000000);
CREATE TABLE started_totals (
	namespace TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	workflow_type TEXT NOT NULL, 
	task_queue TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (namespace, epoch, workflow_type, task_queue)
)
 WITHOUT ROWID

;
INSERT INTO "started_totals" VALUES('shop',0,'Ride','rides',6);
CREATE INDEX open_workflow ON open_runs (namespace, workflow_id);
CREATE INDEX pending_close ON pending (namespace, rank, close_time, run_id);
CREATE INDEX pending_workflow ON pending (namespace, workflow_id) WHERE rank = 0;
CREATE INDEX past_pending_order ON past_pending (namespace, close_time, run_id);
COMMIT;
