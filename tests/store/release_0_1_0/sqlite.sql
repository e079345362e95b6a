PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0002');
CREATE TABLE models (
	id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	model_arn TEXT NOT NULL, 
	project_name TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	created_at TEXT, 
	facts JSON NOT NULL, 
	registered_at TEXT NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_identity UNIQUE (host, model_arn, project_name, model_version, created_at)
);
INSERT INTO models VALUES(1,'lookoutvision','arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1','bottles','1','2026-03-04 05:06:07.123456','{}','2026-11-26 20:12:04.271179');
CREATE TABLE policies (
	id INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	content JSON NOT NULL, 
	stored_at TEXT NOT NULL, 
	CONSTRAINT pk_policies PRIMARY KEY (id), 
	CONSTRAINT uq_policies_sha256 UNIQUE (sha256)
);
INSERT INTO policies VALUES(1,'42586337ab15a2570d1d174ec427ff08cb62de74c91e2b7dc049b8b9d010972c','{"confidence":0.8}','2026-11-26 20:12:04.287425');
INSERT INTO policies VALUES(2,'74f63e2b876961db80056d0a920418a9f381ed69221ea4619929d8d58af5708e','{"confidence":0.75}','2026-11-26 20:12:04.460963');
CREATE TABLE runs (
	id INTEGER NOT NULL, 
	run_id TEXT NOT NULL, 
	model_id INTEGER, 
	project_name TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	host TEXT NOT NULL, 
	source TEXT NOT NULL, 
	manifest_sha256 TEXT, 
	manifest_lines INTEGER, 
	policy_id INTEGER NOT NULL, 
	current_decision INTEGER NOT NULL, 
	later_decision_id INTEGER, 
	triggered_by TEXT NOT NULL, 
	flow_run_id TEXT, 
	code_version TEXT NOT NULL, 
	parameters JSON NOT NULL, 
	status TEXT NOT NULL, 
	message TEXT, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	CONSTRAINT pk_runs PRIMARY KEY (id), 
	CONSTRAINT ck_runs_ck_runs_status CHECK (status IN ('running', 'completed', 'failed', 'cancelled', 'crashed', 'interrupted')), 
	CONSTRAINT fk_runs_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT fk_runs_policy_id FOREIGN KEY(policy_id) REFERENCES policies (id), 
	CONSTRAINT uq_runs_run_id UNIQUE (run_id)
);
INSERT INTO runs VALUES(1,'11111111-1111-4111-8111-111111111111',1,'bottles','1','lookoutvision','s3://lots/lot-41.manifest','abababababababababababababababababababababababababababababababab',5,1,2,2,'ana',NULL,'','{"project":"bottles","source":"s3://lots/lot-41.manifest"}','completed',NULL,'2026-03-04 05:06:07.123456','2026-03-04 05:10:27.123456');
INSERT INTO runs VALUES(2,'22222222-2222-4222-8222-222222222222',1,'bottles','1','lookoutvision','s3://lots/lot-41.manifest',NULL,NULL,1,1,NULL,'ana',NULL,'','{"project":"bottles","source":"s3://lots/lot-41.manifest"}','interrupted','the limit is reached','2026-03-04 05:06:07.123456','2026-03-04 05:11:38.123456');
CREATE TABLE decisions (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	policy_id INTEGER NOT NULL, 
	decided_by TEXT NOT NULL, 
	decided_at TEXT NOT NULL, 
	CONSTRAINT pk_decisions PRIMARY KEY (id), 
	CONSTRAINT fk_decisions_policy_id FOREIGN KEY(policy_id) REFERENCES policies (id), 
	CONSTRAINT fk_decisions_run_id FOREIGN KEY(run_id) REFERENCES runs (id), 
	CONSTRAINT uq_decisions_run_id_number UNIQUE (run_id, number)
);
INSERT INTO decisions VALUES(1,1,1,1,'ana','2026-03-04 05:06:07.123456');
INSERT INTO decisions VALUES(2,1,2,2,'quinn','2026-11-26 20:12:04.460963');
INSERT INTO decisions VALUES(3,2,1,1,'ana','2026-03-04 05:06:07.123456');
CREATE TABLE audit_log (
	seq INTEGER NOT NULL, 
	change INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	content JSON NOT NULL, 
	previous TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_audit_log PRIMARY KEY (seq), 
	CONSTRAINT uq_audit_log_change UNIQUE (change)
);
INSERT INTO audit_log VALUES(1,1,'2026-11-26 20:12:04.271179','lfv','model.registered','arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1','{"rows":[["models",1,1,"6931e56b89d7815e0e1908d4abe7413caaf142c774503b87b2a958a109f443e3"]]}','0000000000000000000000000000000000000000000000000000000000000000','96010df62500bed600b944aa7df48fac99d41edb39194ab40be20652949edc33');
INSERT INTO audit_log VALUES(2,2,'2026-11-26 20:12:04.287425','lfv','run.started','11111111-1111-4111-8111-111111111111','{"rows":[["policies",1,1,"f8538791826861d495d2a7cca43a269c509238339d9d6a453a74d20806c330bf"],["runs",1,1,"1bac615937a9edd69b9740b7d4a9a313fdf9977c01d353c44aed89b86e800311"],["decisions",1,1,"357c3312602a64df2f1f6c9c0a89503b06765b52877c1d8a837bdae9155ba778"]]}','96010df62500bed600b944aa7df48fac99d41edb39194ab40be20652949edc33','d6337ae70477e6b632e653a81450613e93fffe122499e67d73ecbb360133f270');
INSERT INTO audit_log VALUES(3,3,'2026-11-26 20:12:04.334295','lfv','lease.acquired','11111111-1111-4111-8111-111111111111','{"rows":[["hostings",1,1,"cac1cbf4481744cad02c93792ad2184fb3a479d18195b620d4c5e86df34479ee"],["leases",1,1,"d64a862d89a2a7e93d3ae96b2dc631dc020db7fc4a8a5eb368aed0ef49d6d3ce"]]}','d6337ae70477e6b632e653a81450613e93fffe122499e67d73ecbb360133f270','670eedbd3906ec8814ffdc8dc7d06159de469d2f2507953e5b6fe981ba8aa9df');
INSERT INTO audit_log VALUES(4,4,'2026-11-26 20:12:04.345000','lfv','hosting.hosted','1','{"rows":[["hostings",1,1,"e831babfb6972d75fda0bee6999cf5bc84f3fb2634f45b39e2e822397f857489"]]}','670eedbd3906ec8814ffdc8dc7d06159de469d2f2507953e5b6fe981ba8aa9df','520fccd4e0ca0efa65c2497d9db0b4cc7d7aafc3fd7bf2d05ec73bc7483d6ead');
INSERT INTO audit_log VALUES(5,5,'2026-11-26 20:12:04.364134','lfv','inspections.recorded','11111111-1111-4111-8111-111111111111','{"bulk":{"anomalies":{"layout":1,"marks":"gMAsuqHQscw=","rows":2,"sha256":"9224ea4718b593d38cfc8e52cf610906b418eaa8d6e6764e3cb66090546ea2fe"},"detections":{"layout":1,"marks":"9jV/5Eokcki80tEI","rows":3,"sha256":"97d9e291d33db0b983a5e2a7179336d14da54cfa109213dff09ab5cbed6fb640"},"images":{"layout":1,"marks":"ZwqPf/pQvS956BctZh68ig==","rows":4,"sha256":"753f35ab2e6c6a344a08cc99bbba28a94e52d7942a60df52cdb01734de926401"},"inspection_attributes":{"layout":1,"marks":"HudKOUyYPIrhk/VHg+irT1n25hN+SXbZ/4mOlGFMIWQFV/Q6YoZv4nMrUyGajXek","rows":12,"sha256":"13b7153010fc7937db743e0017ff9bb5800ad39d9730998c3c4ec3c40cafb8e6"},"inspections":{"layout":1,"marks":"6iVW5FbhXn3Sn71wO4d+lQ==","rows":4,"sha256":"12bcd4c2970630ca26cac6c3a57bc90d588dcbeb388723a2fbea593ab4f60a4b"}},"rows":[["hosting_usage",1,1,"f690ee7688ebbd7039721846dbdc98cfc13c98c31f8598296b2b19104190a584"]]}','520fccd4e0ca0efa65c2497d9db0b4cc7d7aafc3fd7bf2d05ec73bc7483d6ead','a27794ca6d87255ed1eb907742950a8996f4af7b5437e743c6d7bebc99a08f0f');
INSERT INTO audit_log VALUES(6,6,'2026-11-26 20:12:04.385237','lfv','inspections.recorded','11111111-1111-4111-8111-111111111111','{"bulk":{"inspection_attributes":{"layout":1,"marks":"sU4H80lPk3FSB9iE","rows":3,"sha256":"81a89ae23877efa7cef86725cbcb9741382f904b9a54e3886d7e42afe0f2eba7"},"inspections":{"layout":1,"marks":"wO8pNw==","rows":1,"sha256":"decab7f94f28758b1202cf4a1c766e90ca23ac48832ac15424a715382d3fb463"}}}','a27794ca6d87255ed1eb907742950a8996f4af7b5437e743c6d7bebc99a08f0f','11237a21cf495b07e9256d3016eac018f244a67443abd74576b96e8dbd633439');
INSERT INTO audit_log VALUES(7,7,'2026-11-26 20:12:04.397651','lfv','run.manifest','11111111-1111-4111-8111-111111111111','{"rows":[["runs",1,1,"086572d605e6335579995fbad3a3d42f4eb6d52b7169dcec57ff8fb3e474869e"]]}','11237a21cf495b07e9256d3016eac018f244a67443abd74576b96e8dbd633439','c69289680ba901e03dcdabd68493db4b25abe4aaa3113db574a601278985f112');
INSERT INTO audit_log VALUES(8,8,'2026-11-26 20:12:04.423233','lfv','lease.released','1','{"rows":[["leases",1,1,"9161fad6fd2fa7a91595e7a21cc87b31e31793c510162e8d3433626906dc1d39"],["hostings",1,1,"564201b12645264aaa97cd9b2fea73f02d029752ab86fe5efdb73b46fc5c1538"]]}','c69289680ba901e03dcdabd68493db4b25abe4aaa3113db574a601278985f112','70ecaedf1eb8da6db2d3d1cc65f03da5516a0774249a7ee4a8eaaf972dbaccf8');
INSERT INTO audit_log VALUES(9,9,'2026-11-26 20:12:04.432861','lfv','hosting.stopped','1','{"rows":[["hostings",1,1,"b680ac9ce33759e0cc41d038970b8b0be61d7d5bc72fe92545d17348a4ac900f"]]}','70ecaedf1eb8da6db2d3d1cc65f03da5516a0774249a7ee4a8eaaf972dbaccf8','182193d9bf92eb04d2025212a44af20169704af740c451c84840623ff74f93c9');
INSERT INTO audit_log VALUES(10,10,'2026-11-26 20:12:04.440715','lfv','run.completed','11111111-1111-4111-8111-111111111111','{"rows":[["runs",1,1,"4f5f1ff2da53f038799be5d957ee10ad6d32911bbaf2ffbc35dd00050aa36158"]]}','182193d9bf92eb04d2025212a44af20169704af740c451c84840623ff74f93c9','5c0f4bcb8809d7fed306a6d5d3bf34dfecdfca862c5af609b2d8b7b8d44f8069');
INSERT INTO audit_log VALUES(11,11,'2026-11-26 20:12:04.460963','lfv','decision.begun','11111111-1111-4111-8111-111111111111','{"rows":[["policies",2,1,"065c23fe0b7750874f000f574ece70d2b67978133b9645ecf51d949657adc95d"],["decisions",2,1,"3d491320de025c616ce9db5aa5dd6a3abd747be1ea0a27ab95a12c9f210cc8c2"]]}','5c0f4bcb8809d7fed306a6d5d3bf34dfecdfca862c5af609b2d8b7b8d44f8069','05cbac1c0c2cbfb7c437ffb802ca28faf155d9d63580ce1199383a7a79599a4b');
INSERT INTO audit_log VALUES(12,12,'2026-11-26 20:12:04.470909','lfv','verdicts.recorded','11111111-1111-4111-8111-111111111111','{"bulk":{"verdicts":{"layout":1,"marks":"16HJT5Yk0YzrIzbSHI6J9w==","rows":4,"sha256":"e20fb7afc6243b7c5de1e0503fdc84e457f680194c7c0449ad8eed3deebed927"}}}','05cbac1c0c2cbfb7c437ffb802ca28faf155d9d63580ce1199383a7a79599a4b','11beaf16ec31427ba51207058285dd6e258d37d544ecb78ec20cbc0572330864');
INSERT INTO audit_log VALUES(13,13,'2026-11-26 20:12:04.475771','lfv','decision.effective','11111111-1111-4111-8111-111111111111','{"rows":[["runs",1,1,"fddba9429d1ea1455158ec55b0443fe9ead913608f3c5139217685a55f30513b"]]}','11beaf16ec31427ba51207058285dd6e258d37d544ecb78ec20cbc0572330864','cc06a33327ebdd68b756bf2823f103a862792dad4b178cfb99d99cb01c39ebda');
INSERT INTO audit_log VALUES(14,14,'2026-11-26 20:12:04.490235','Eve','review.added','5000001','{"rows":[["reviews",1,1,"25c7feb8f481c36e7215d9f9532e480c765340f8872efef00df18b06a7febf7a"]]}','cc06a33327ebdd68b756bf2823f103a862792dad4b178cfb99d99cb01c39ebda','86d6b127abafc60006796fd3c7b4639d653d2fe33036e6099bb3da9c7dc8de36');
INSERT INTO audit_log VALUES(15,15,'2026-11-26 20:12:04.496761','lfv','run.started','22222222-2222-4222-8222-222222222222','{"rows":[["runs",2,1,"fda4027b1fbb40a14d74752f940d444ed4eb16baa9204470e5936614b380a29b"],["decisions",3,1,"19aca30405cfae244825a834d2fb1d409bae3205018fbdb63d555c22d37a9f60"]]}','86d6b127abafc60006796fd3c7b4639d653d2fe33036e6099bb3da9c7dc8de36','bc2ad24b92e8961911742316fe35fc2baff9fcbe38eadb3b1a5c23bf23d5a010');
INSERT INTO audit_log VALUES(16,16,'2026-11-26 20:12:04.506300','lfv','lease.acquired','22222222-2222-4222-8222-222222222222','{"rows":[["hostings",2,1,"548700b63280e54af08a29b3bd69364802bdb50066cd8150be77f15ac1e93870"],["leases",2,1,"cd0db758b9da95c04c82c73fb1b31ed863b76cfff53192a07b5e8985c2f8c175"]]}','bc2ad24b92e8961911742316fe35fc2baff9fcbe38eadb3b1a5c23bf23d5a010','c28257f1909794f4ad4f11db4b784d0db6685c6f725040209da26ecfaedd9392');
INSERT INTO audit_log VALUES(17,17,'2026-11-26 20:12:04.508381','lfv','hosting.hosted','2','{"rows":[["hostings",2,1,"ef9e329dd4ab5a23357323de6e31a6a1733ad92ca48499f15567d63e57101d7c"]]}','c28257f1909794f4ad4f11db4b784d0db6685c6f725040209da26ecfaedd9392','6c40982e7170a8dbf84a728bdbea2d0dc10c45f5c1c040fbb7b0fc0398571239');
INSERT INTO audit_log VALUES(18,18,'2026-11-26 20:12:04.529558','lfv','inspections.recorded','22222222-2222-4222-8222-222222222222','{"bulk":{"detections":{"layout":1,"marks":"JTdPjg==","rows":1,"sha256":"fbb2f90a64c8abc6d6b1f7e93b614e50001300ce2c13d5909823e831b6c1af24"},"images":{"layout":1,"marks":"LGD4jw==","rows":1,"sha256":"2e4f7b8486ff4e7082e4858d348394c80ea1aa23c42645b6720798c39e285e69"},"inspection_attributes":{"layout":1,"marks":"AAa6GynB5dkJUQoo","rows":3,"sha256":"2b6a7cd6fb95cb5d2872342f0dd7e52028d6ceb8b028dc372e0fb3521a16f384"},"inspections":{"layout":1,"marks":"8uNBWQ==","rows":1,"sha256":"a5db0a3f55974ed3aaedf47401adeebf4860aa09f9f8e907446ef8c4c8b914a1"}},"rows":[["hosting_usage",2,1,"6470cf596bf83e223b4783f029dd208fbec1fdbacb5eafc3017daa5bc98abae3"]]}','6c40982e7170a8dbf84a728bdbea2d0dc10c45f5c1c040fbb7b0fc0398571239','5c311ad14944aeee1e184eefe92bdcd2cc1d4cc87867ffb34ad1acea8c1392ea');
INSERT INTO audit_log VALUES(19,19,'2026-11-26 20:12:04.535908','lfv','lease.released','2','{"rows":[["leases",2,1,"b248ab3a80f9c6a8c89ed4c51f2d99581f4a3daed9f2c0c23ce365168a2fd718"],["hostings",2,1,"190e184b2f79e9028b35f24b9921e3f80d7aeaf230d77761edb6b125edce0db9"]]}','5c311ad14944aeee1e184eefe92bdcd2cc1d4cc87867ffb34ad1acea8c1392ea','a56223a5e5ef5037b986e37bd2648996df2bf018bf5be0936c735bb35fdc3390');
INSERT INTO audit_log VALUES(20,20,'2026-11-26 20:12:04.541271','lfv','hosting.stopped','2','{"rows":[["hostings",2,1,"1ede57a3e095b89f4d1cfb314e519697c40f0695f3137d2c9af8b664cc28254c"]]}','a56223a5e5ef5037b986e37bd2648996df2bf018bf5be0936c735bb35fdc3390','27ffa0807e5b20b2d62614d651c69f326917979f5facc5b5a12516c12e815f27');
INSERT INTO audit_log VALUES(21,21,'2026-11-26 20:12:04.552773','lfv','run.interrupted','22222222-2222-4222-8222-222222222222','{"rows":[["runs",2,1,"586a1fb8667a6878e55ab705687c92bf767c751e434fe28a11eac5b46c2aebcc"]]}','27ffa0807e5b20b2d62614d651c69f326917979f5facc5b5a12516c12e815f27','93e0238714030fdf138338ddb23c045db8a6c985df5e58710324c956af11d405');
CREATE TABLE hostings (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	owned BOOLEAN NOT NULL, 
	client_token TEXT NOT NULL, 
	host_spec JSON NOT NULL, 
	min_units INTEGER NOT NULL, 
	max_units INTEGER, 
	price_per_unit_hour DOUBLE NOT NULL, 
	billed_from TEXT NOT NULL, 
	billed_to TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	requested_at TEXT NOT NULL, 
	hosted_at TEXT, 
	stop_requested_at TEXT, 
	stopped_at TEXT, 
	message TEXT, 
	stop_attempts INTEGER NOT NULL, 
	stop_error TEXT, 
	claimed_by TEXT, 
	claimed_until TEXT, 
	CONSTRAINT pk_hostings PRIMARY KEY (id), 
	CONSTRAINT ck_hostings_ck_hostings_billed_from CHECK (billed_from IN ('requested', 'hosted')), 
	CONSTRAINT ck_hostings_ck_hostings_billed_to CHECK (billed_to IN ('stop_requested', 'stopped')), 
	CONSTRAINT ck_hostings_ck_hostings_status CHECK (status IN ('requested', 'hosted', 'stop_requested', 'stopped', 'failed', 'left')), 
	CONSTRAINT ck_hostings_ck_hostings_min_units CHECK (min_units >= 1), 
	CONSTRAINT ck_hostings_ck_hostings_price_per_unit_hour CHECK (price_per_unit_hour >= 0), 
	CONSTRAINT fk_hostings_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT uq_hostings_client_token UNIQUE (client_token)
);
INSERT INTO hostings VALUES(1,1,'stopped',1,'84f66cb365a74621bb7506f711279a6a','{"kind":"lookoutvision","project":"bottles"}',1,NULL,4.0,'hosted','stopped','11111111-1111-4111-8111-111111111111','2026-03-04 05:06:17.123456','2026-03-04 05:07:17.123456','2026-03-04 05:09:27.123456','2026-03-04 05:10:17.123456',NULL,0,NULL,NULL,NULL);
INSERT INTO hostings VALUES(2,1,'stopped',1,'d1e8bb9aa16045cfbfd15b2c02de4a2f','{"kind":"lookoutvision","project":"bottles"}',1,NULL,4.0,'hosted','stopped','22222222-2222-4222-8222-222222222222','2026-03-04 05:11:07.123456','2026-03-04 05:11:17.123456','2026-03-04 05:11:27.123456','2026-03-04 05:11:37.123456',NULL,0,NULL,NULL,NULL);
CREATE TABLE leases (
	id INTEGER NOT NULL, 
	hosting_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	acquired_at TEXT NOT NULL, 
	ended_at TEXT, 
	end_reason TEXT, 
	CONSTRAINT pk_leases PRIMARY KEY (id), 
	CONSTRAINT ck_leases_ck_leases_end_reason CHECK (end_reason IN ('released', 'expired')), 
	CONSTRAINT ck_leases_ck_leases_ended CHECK ((ended_at IS NULL) = (end_reason IS NULL)), 
	CONSTRAINT fk_leases_hosting_id FOREIGN KEY(hosting_id) REFERENCES hostings (id), 
	CONSTRAINT fk_leases_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO leases VALUES(1,1,1,'2026-03-04 05:06:17.123456','2026-03-04 05:09:27.123456','released');
INSERT INTO leases VALUES(2,2,2,'2026-03-04 05:11:07.123456','2026-03-04 05:11:27.123456','released');
CREATE TABLE lease_heartbeats (
	lease_id INTEGER NOT NULL, 
	beat_at TEXT NOT NULL, 
	expires_at TEXT NOT NULL, 
	ttl_seconds DOUBLE NOT NULL, 
	CONSTRAINT pk_lease_heartbeats PRIMARY KEY (lease_id), 
	CONSTRAINT fk_lease_heartbeats_lease_id FOREIGN KEY(lease_id) REFERENCES leases (id)
);
CREATE TABLE hosting_usage (
	id INTEGER NOT NULL, 
	hosting_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	images INTEGER NOT NULL, 
	first_answer_at TEXT NOT NULL, 
	last_answer_at TEXT NOT NULL, 
	CONSTRAINT pk_hosting_usage PRIMARY KEY (id), 
	CONSTRAINT fk_hosting_usage_hosting_id FOREIGN KEY(hosting_id) REFERENCES hostings (id), 
	CONSTRAINT fk_hosting_usage_run_id FOREIGN KEY(run_id) REFERENCES runs (id), 
	CONSTRAINT uq_hosting_usage_run_id_hosting_id UNIQUE (run_id, hosting_id)
);
INSERT INTO hosting_usage VALUES(1,1,1,3,'2026-03-04 05:07:48.123456','2026-03-04 05:07:51.123456');
INSERT INTO hosting_usage VALUES(2,2,2,1,'2026-03-04 05:07:58.123456','2026-03-04 05:07:58.123456');
CREATE TABLE images (
	id INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	format TEXT NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	CONSTRAINT pk_images PRIMARY KEY (id), 
	CONSTRAINT uq_images_sha256 UNIQUE (sha256)
);
INSERT INTO images VALUES(5000000,'4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a','PNG',640,480,100000);
INSERT INTO images VALUES(5000001,'4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce','PNG',640,480,100000);
INSERT INTO images VALUES(5000002,'6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b','PNG',640,480,100000);
INSERT INTO images VALUES(5000003,'d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35','PNG',640,480,100000);
INSERT INTO images VALUES(18000000,'4fc82b26aecb47d2868c4efbe3581732a3e7cbcc6c2efb32062c08170a05eeb8','PNG',640,480,100000);
CREATE TABLE detections (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	is_anomalous BOOLEAN NOT NULL, 
	confidence DOUBLE NOT NULL, 
	response JSON NOT NULL, 
	mask_sha256 TEXT, 
	request_id TEXT, 
	latency_ms DOUBLE, 
	detected_at TEXT NOT NULL, 
	CONSTRAINT pk_detections PRIMARY KEY (id), 
	CONSTRAINT ck_detections_ck_detections_confidence CHECK (confidence >= 0 AND confidence <= 1), 
	CONSTRAINT fk_detections_image_id FOREIGN KEY(image_id) REFERENCES images (id), 
	CONSTRAINT fk_detections_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT fk_detections_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO detections VALUES(5000000,1,5000002,1,0,0.70999999999999996447,'{"Confidence":0.71,"IsAnomalous":false,"Source":{"Type":"direct"}}',NULL,'request-1',12.5,'2026-03-04 05:07:48.123456');
INSERT INTO detections VALUES(5000001,1,5000003,1,1,0.71999999999999997335,'{"Anomalies":[{"Name":"background","PixelAnomaly":{"TotalPercentageArea":0.98}},{"Name":"scratch","PixelAnomaly":{"Color":"#00FF00","TotalPercentageArea":0.02}}],"Confidence":0.72,"IsAnomalous":true,"Source":{"Type":"direct"}}','48bf9b4f142ab45cac6f33cf99415bca6ca8e07608a031237aa76560fec2204b','request-2',12.5,'2026-03-04 05:07:49.123456');
INSERT INTO detections VALUES(5000002,1,5000000,1,0,0.73999999999999999111,'{"Confidence":0.74,"IsAnomalous":false,"Source":{"Type":"direct"}}',NULL,'request-4',12.5,'2026-03-04 05:07:51.123456');
INSERT INTO detections VALUES(18000000,1,18000000,2,0,0.80999999999999994226,'{"Confidence":0.8099999999999999,"IsAnomalous":false,"Source":{"Type":"direct"}}',NULL,'request-11',12.5,'2026-03-04 05:07:58.123456');
CREATE TABLE masks (
	detection_id INTEGER NOT NULL, 
	png BLOB NOT NULL, 
	CONSTRAINT pk_masks PRIMARY KEY (detection_id), 
	CONSTRAINT fk_masks_detection_id FOREIGN KEY(detection_id) REFERENCES detections (id)
);
INSERT INTO masks VALUES(5000001,X'6d61736b');
CREATE TABLE anomalies (
	detection_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	total_percentage_area DOUBLE NOT NULL, 
	color TEXT, 
	CONSTRAINT pk_anomalies PRIMARY KEY (detection_id, position), 
	CONSTRAINT fk_anomalies_detection_id FOREIGN KEY(detection_id) REFERENCES detections (id)
)
 WITHOUT ROWID

;
INSERT INTO anomalies VALUES(5000001,0,'background',0.97999999999999998223,NULL);
INSERT INTO anomalies VALUES(5000001,1,'scratch',0.020000000000000000416,'#00FF00');
CREATE TABLE inspections (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	line_number INTEGER NOT NULL, 
	source_ref TEXT NOT NULL, 
	image_id INTEGER, 
	detection_id INTEGER, 
	reused BOOLEAN NOT NULL, 
	verdict TEXT, 
	reasons JSON NOT NULL, 
	error_code TEXT, 
	error_message TEXT, 
	attempts INTEGER NOT NULL, 
	attributes JSON NOT NULL, 
	expected_is_anomalous BOOLEAN, 
	expected_mask_ref TEXT, 
	inspected_at TEXT NOT NULL, 
	CONSTRAINT pk_inspections PRIMARY KEY (id), 
	CONSTRAINT ck_inspections_ck_inspections_verdict CHECK (verdict IN ('accept', 'reject', 'review')), 
	CONSTRAINT ck_inspections_ck_inspections_verdict_or_error CHECK ((verdict IS NULL) <> (error_code IS NULL)), 
	CONSTRAINT ck_inspections_ck_inspections_verdict_has_answer CHECK (verdict IS NULL OR detection_id IS NOT NULL), 
	CONSTRAINT fk_inspections_detection_id FOREIGN KEY(detection_id) REFERENCES detections (id), 
	CONSTRAINT fk_inspections_image_id FOREIGN KEY(image_id) REFERENCES images (id), 
	CONSTRAINT fk_inspections_run_id FOREIGN KEY(run_id) REFERENCES runs (id), 
	CONSTRAINT uq_inspections_run_id_line_number UNIQUE (run_id, line_number)
);
INSERT INTO inspections VALUES(5000000,1,1,'s3://lots/1.png',5000002,5000000,0,'accept','[{"limit":0.8,"rule":"confidence","value":0.71}]',NULL,NULL,1,'{"lot":"L41","serial":"SN000001","umlaut":"Größe"}',0,NULL,'2026-03-04 05:07:48.123456');
INSERT INTO inspections VALUES(5000001,1,2,'s3://lots/2.png',5000003,5000001,0,'reject','[{"limit":0.8,"rule":"confidence","value":0.72}]',NULL,NULL,1,'{"lot":"L41","serial":"SN000002","umlaut":"Größe"}',1,NULL,'2026-03-04 05:07:49.123456');
INSERT INTO inspections VALUES(5000002,1,3,'s3://lots/3.png',5000001,NULL,0,NULL,'[]','image_truncated','The end is missing.',1,'{"lot":"L41","serial":"SN000003","umlaut":"Größe"}',0,NULL,'2026-03-04 05:07:50.123456');
INSERT INTO inspections VALUES(5000003,1,4,'s3://lots/4.png',5000000,5000002,0,'review','[{"limit":0.8,"rule":"confidence","value":0.74}]',NULL,NULL,1,'{"lot":"L41","serial":"SN000004","umlaut":"Größe"}',0,NULL,'2026-03-04 05:07:51.123456');
INSERT INTO inspections VALUES(6000000,1,5,'s3://lots/5.png',5000002,5000000,1,'accept','[{"limit":0.8,"rule":"confidence","value":0.75}]',NULL,NULL,1,'{"lot":"L41","serial":"SN000005","umlaut":"Größe"}',0,NULL,'2026-03-04 05:07:52.123456');
INSERT INTO inspections VALUES(18000000,2,11,'s3://lots/11.png',18000000,18000000,0,'accept','[{"limit":0.8,"rule":"confidence","value":0.8099999999999999}]',NULL,NULL,1,'{"lot":"L41","serial":"SN000011","umlaut":"Größe"}',0,NULL,'2026-03-04 05:07:58.123456');
CREATE TABLE inspection_attributes (
	inspection_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_inspection_attributes PRIMARY KEY (inspection_id, name), 
	CONSTRAINT fk_inspection_attributes_inspection_id FOREIGN KEY(inspection_id) REFERENCES inspections (id)
)
 WITHOUT ROWID

;
INSERT INTO inspection_attributes VALUES(5000000,'lot','L41');
INSERT INTO inspection_attributes VALUES(5000001,'lot','L41');
INSERT INTO inspection_attributes VALUES(5000002,'lot','L41');
INSERT INTO inspection_attributes VALUES(5000003,'lot','L41');
INSERT INTO inspection_attributes VALUES(6000000,'lot','L41');
INSERT INTO inspection_attributes VALUES(18000000,'lot','L41');
INSERT INTO inspection_attributes VALUES(5000000,'serial','SN000001');
INSERT INTO inspection_attributes VALUES(5000001,'serial','SN000002');
INSERT INTO inspection_attributes VALUES(5000002,'serial','SN000003');
INSERT INTO inspection_attributes VALUES(5000003,'serial','SN000004');
INSERT INTO inspection_attributes VALUES(6000000,'serial','SN000005');
INSERT INTO inspection_attributes VALUES(18000000,'serial','SN000011');
INSERT INTO inspection_attributes VALUES(5000000,'umlaut','Größe');
INSERT INTO inspection_attributes VALUES(5000001,'umlaut','Größe');
INSERT INTO inspection_attributes VALUES(5000002,'umlaut','Größe');
INSERT INTO inspection_attributes VALUES(5000003,'umlaut','Größe');
INSERT INTO inspection_attributes VALUES(6000000,'umlaut','Größe');
INSERT INTO inspection_attributes VALUES(18000000,'umlaut','Größe');
CREATE TABLE verdicts (
	id INTEGER NOT NULL, 
	decision_id INTEGER NOT NULL, 
	inspection_id INTEGER NOT NULL, 
	verdict TEXT NOT NULL, 
	reasons JSON NOT NULL, 
	CONSTRAINT pk_verdicts PRIMARY KEY (id), 
	CONSTRAINT ck_verdicts_ck_verdicts_verdict CHECK (verdict IN ('accept', 'reject', 'review')), 
	CONSTRAINT fk_verdicts_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (id), 
	CONSTRAINT fk_verdicts_inspection_id FOREIGN KEY(inspection_id) REFERENCES inspections (id), 
	CONSTRAINT uq_verdicts_inspection_id_decision_id UNIQUE (inspection_id, decision_id)
);
INSERT INTO verdicts VALUES(12000000,2,5000000,'accept','[]');
INSERT INTO verdicts VALUES(12000001,2,5000001,'reject','[]');
INSERT INTO verdicts VALUES(12000002,2,5000003,'accept','[]');
INSERT INTO verdicts VALUES(12000003,2,6000000,'accept','[]');
CREATE TABLE reviews (
	id INTEGER NOT NULL, 
	inspection_id INTEGER NOT NULL, 
	verdict TEXT NOT NULL, 
	reviewer TEXT NOT NULL, 
	comment TEXT NOT NULL, 
	reviewed_at TEXT NOT NULL, 
	CONSTRAINT pk_reviews PRIMARY KEY (id), 
	CONSTRAINT ck_reviews_ck_reviews_reviewer CHECK (reviewer <> ''), 
	CONSTRAINT ck_reviews_ck_reviews_verdict CHECK (verdict IN ('accept', 'reject')), 
	CONSTRAINT fk_reviews_inspection_id FOREIGN KEY(inspection_id) REFERENCES inspections (id)
);
INSERT INTO reviews VALUES(1,5000001,'reject','Eve','','2026-03-04 05:06:07.123456');
CREATE TABLE run_progress (
	run_id INTEGER NOT NULL, 
	planned_through INTEGER NOT NULL, 
	CONSTRAINT pk_run_progress PRIMARY KEY (run_id), 
	CONSTRAINT fk_run_progress_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO run_progress VALUES(1,0);
INSERT INTO run_progress VALUES(2,13);
CREATE TABLE pending_items (
	run_id INTEGER NOT NULL, 
	line_number INTEGER NOT NULL, 
	duplicate BOOLEAN NOT NULL, 
	source_ref TEXT NOT NULL, 
	image_sha256 TEXT NOT NULL, 
	image_format TEXT NOT NULL, 
	image_width INTEGER NOT NULL, 
	image_height INTEGER NOT NULL, 
	image_size_bytes INTEGER NOT NULL, 
	attributes JSON NOT NULL, 
	expected_is_anomalous BOOLEAN, 
	expected_mask_ref TEXT, 
	CONSTRAINT pk_pending_items PRIMARY KEY (run_id, line_number), 
	CONSTRAINT fk_pending_items_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID

;
INSERT INTO pending_items VALUES(2,12,0,'s3://lots/12.png','6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918','PNG',640,480,100000,'{}',NULL,NULL);
INSERT INTO pending_items VALUES(2,13,0,'s3://lots/13.png','3fdba35f04dc8c462986c992bcf875546257113072a909c162f7e470e581e278','PNG',640,480,100000,'{}',NULL,NULL);
CREATE TABLE tallies (
	run_id INTEGER NOT NULL, 
	day DATE NOT NULL, 
	accepted INTEGER NOT NULL, 
	rejected INTEGER NOT NULL, 
	review INTEGER NOT NULL, 
	errors INTEGER NOT NULL, 
	reused INTEGER NOT NULL, 
	asked INTEGER NOT NULL, 
	CONSTRAINT pk_tallies PRIMARY KEY (run_id, day), 
	CONSTRAINT fk_tallies_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID

;
INSERT INTO tallies VALUES(1,'2026-03-04',3,1,0,1,1,3);
INSERT INTO tallies VALUES(2,'2026-03-04',1,0,0,0,0,1);
CREATE INDEX ix_models_project_name_model_version ON models (project_name, model_version);
CREATE INDEX ix_runs_flow_run_id ON runs (flow_run_id);
CREATE INDEX ix_runs_model_id ON runs (model_id);
CREATE INDEX ix_runs_started_at ON runs (started_at);
CREATE INDEX ix_audit_log_subject ON audit_log (subject);
CREATE INDEX ix_hostings_model_id_requested_at ON hostings (model_id, requested_at);
CREATE UNIQUE INDEX uq_hostings_open ON hostings (model_id) WHERE status IN ('requested', 'hosted', 'stop_requested');
CREATE INDEX ix_leases_hosting_id ON leases (hosting_id);
CREATE INDEX ix_leases_run_id ON leases (run_id);
CREATE INDEX ix_detections_image_id_model_id ON detections (image_id, model_id);
CREATE INDEX ix_detections_with_mask ON detections (id) WHERE mask_sha256 IS NOT NULL;
CREATE INDEX ix_anomalies_name_total_percentage_area ON anomalies (name, total_percentage_area);
CREATE INDEX ix_inspections_detection_id ON inspections (detection_id);
CREATE INDEX ix_inspections_errors ON inspections (run_id, error_code) WHERE error_code IS NOT NULL;
CREATE INDEX ix_inspections_image_id ON inspections (image_id);
CREATE INDEX ix_inspections_inspected_at ON inspections (inspected_at);
CREATE INDEX ix_inspections_rejected ON inspections (run_id, line_number) WHERE verdict = 'reject';
CREATE INDEX ix_inspections_waiting ON inspections (run_id, line_number) WHERE verdict = 'review';
CREATE INDEX ix_inspection_attributes_name_value ON inspection_attributes (name, value);
CREATE INDEX ix_verdicts_decision_id_verdict ON verdicts (decision_id, verdict);
CREATE INDEX ix_reviews_inspection_id ON reviews (inspection_id);
CREATE INDEX ix_reviews_reviewed_at ON reviews (reviewed_at);
CREATE INDEX ix_reviews_reviewer ON reviews (reviewer);
CREATE INDEX ix_pending_items_run_id_duplicate_line_number ON pending_items (run_id, duplicate, line_number);
CREATE INDEX ix_pending_items_run_id_image_sha256 ON pending_items (run_id, image_sha256);
CREATE TRIGGER models_no_update BEFORE UPDATE ON models BEGIN SELECT RAISE(ABORT, 'models is append-only'); END;
CREATE TRIGGER models_no_delete BEFORE DELETE ON models BEGIN SELECT RAISE(ABORT, 'models is append-only'); END;
CREATE TRIGGER policies_no_update BEFORE UPDATE ON policies BEGIN SELECT RAISE(ABORT, 'policies is append-only'); END;
CREATE TRIGGER policies_no_delete BEFORE DELETE ON policies BEGIN SELECT RAISE(ABORT, 'policies is append-only'); END;
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only'); END;
CREATE TRIGGER images_no_update BEFORE UPDATE ON images BEGIN SELECT RAISE(ABORT, 'images is append-only'); END;
CREATE TRIGGER images_no_delete BEFORE DELETE ON images BEGIN SELECT RAISE(ABORT, 'images is append-only'); END;
CREATE TRIGGER detections_no_update BEFORE UPDATE ON detections BEGIN SELECT RAISE(ABORT, 'detections is append-only'); END;
CREATE TRIGGER detections_no_delete BEFORE DELETE ON detections BEGIN SELECT RAISE(ABORT, 'detections is append-only'); END;
CREATE TRIGGER masks_no_update BEFORE UPDATE ON masks BEGIN SELECT RAISE(ABORT, 'masks is append-only'); END;
CREATE TRIGGER masks_no_delete BEFORE DELETE ON masks BEGIN SELECT RAISE(ABORT, 'masks is append-only'); END;
CREATE TRIGGER anomalies_no_update BEFORE UPDATE ON anomalies BEGIN SELECT RAISE(ABORT, 'anomalies is append-only'); END;
CREATE TRIGGER anomalies_no_delete BEFORE DELETE ON anomalies BEGIN SELECT RAISE(ABORT, 'anomalies is append-only'); END;
CREATE TRIGGER inspections_no_update BEFORE UPDATE ON inspections BEGIN SELECT RAISE(ABORT, 'inspections is append-only'); END;
CREATE TRIGGER inspections_no_delete BEFORE DELETE ON inspections BEGIN SELECT RAISE(ABORT, 'inspections is append-only'); END;
CREATE TRIGGER inspection_attributes_no_update BEFORE UPDATE ON inspection_attributes BEGIN SELECT RAISE(ABORT, 'inspection_attributes is append-only'); END;
CREATE TRIGGER inspection_attributes_no_delete BEFORE DELETE ON inspection_attributes BEGIN SELECT RAISE(ABORT, 'inspection_attributes is append-only'); END;
CREATE TRIGGER verdicts_no_update BEFORE UPDATE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts is append-only'); END;
CREATE TRIGGER verdicts_no_delete BEFORE DELETE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts is append-only'); END;
CREATE TRIGGER reviews_no_update BEFORE UPDATE ON reviews BEGIN SELECT RAISE(ABORT, 'reviews is append-only'); END;
CREATE TRIGGER reviews_no_delete BEFORE DELETE ON reviews BEGIN SELECT RAISE(ABORT, 'reviews is append-only'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
CREATE VIEW inspection_results AS
SELECT
    r.run_id,
    r.flow_run_id,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    coalesce(v.verdict, i.verdict) AS verdict,
    coalesce(v.reasons, i.reasons) AS reasons,
    i.error_code || coalesce(': ' || i.error_message, '') AS error,
    i.reused,
    d.detected_at,
    i.attributes,
    i.line_number,
    i.inspected_at,
    i.id AS inspection_id,
    i.error_code,
    i.attempts,
    i.expected_is_anomalous,
    i.detection_id,
    d.request_id,
    d.latency_ms,
    i.verdict AS first_verdict,
    (SELECT rv.verdict FROM reviews rv WHERE rv.inspection_id = i.id
     ORDER BY rv.id DESC LIMIT 1) AS reviewed_verdict
FROM inspections i
JOIN runs r ON r.id = i.run_id
LEFT JOIN models m ON m.id = r.model_id
LEFT JOIN images im ON im.id = i.image_id
LEFT JOIN detections d ON d.id = i.detection_id
LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id;
CREATE VIEW anomaly_results AS
SELECT
    r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    a.name,
    a.total_percentage_area,
    a.color,
    d.is_anomalous,
    d.confidence,
    d.detected_at,
    i.id AS inspection_id,
    d.id AS detection_id
FROM anomalies a
JOIN detections d ON d.id = a.detection_id
JOIN inspections i ON i.detection_id = d.id
JOIN runs r ON r.id = i.run_id
JOIN images im ON im.id = d.image_id
LEFT JOIN models m ON m.id = r.model_id
WHERE NOT (a.position = 0 AND a.name = 'background');
CREATE VIEW verdict_history AS
SELECT
    i.id AS inspection_id,
    r.run_id,
    i.line_number,
    i.source_ref,
    dc.number AS decision,
    CASE WHEN dc.number = 1 THEN i.verdict ELSE v.verdict END AS verdict,
    CASE WHEN dc.number = 1 THEN i.reasons ELSE v.reasons END AS reasons,
    p.sha256 AS policy_sha256,
    dc.decided_by,
    dc.decided_at,
    r.current_decision = dc.number AS current
FROM inspections i
JOIN runs r ON r.id = i.run_id
JOIN decisions dc ON dc.run_id = i.run_id
JOIN policies p ON p.id = dc.policy_id
LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = dc.id
WHERE i.verdict IS NOT NULL AND (dc.number = 1 OR v.id IS NOT NULL);
CREATE VIEW review_queue AS
SELECT
    r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    q.reasons,
    i.attributes,
    i.inspected_at,
    q.inspection_id
FROM (
    SELECT i.id AS inspection_id, i.reasons
    FROM inspections i
    JOIN runs r ON r.id = i.run_id
    WHERE i.verdict = 'review'
      AND (r.later_decision_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM verdicts v
          WHERE v.inspection_id = i.id AND v.decision_id = r.later_decision_id))
    UNION ALL
    SELECT v.inspection_id, v.reasons
    FROM runs r
    JOIN verdicts v ON v.decision_id = r.later_decision_id AND v.verdict = 'review'
) q
JOIN inspections i ON i.id = q.inspection_id
JOIN runs r ON r.id = i.run_id
JOIN images im ON im.id = i.image_id
JOIN detections d ON d.id = i.detection_id
LEFT JOIN models m ON m.id = r.model_id
WHERE NOT EXISTS (SELECT 1 FROM reviews rv WHERE rv.inspection_id = q.inspection_id);
CREATE VIEW defect_rate_daily AS
SELECT
    t.day,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    (sum(t.accepted + t.rejected + t.review + t.errors)) AS inspected,
    (sum(t.accepted)) AS accepted,
    (sum(t.rejected)) AS rejected,
    (sum(t.review)) AS review,
    (sum(t.errors)) AS errors,
    sum(t.rejected) * 1.0 / nullif(sum(t.accepted + t.rejected + t.review), 0)
        AS defect_rate
FROM tallies t
JOIN runs r ON r.id = t.run_id
LEFT JOIN models m ON m.id = r.model_id
GROUP BY t.day, coalesce(m.project_name, r.project_name),
         coalesce(m.model_version, r.model_version), r.host;
CREATE VIEW run_stays AS
SELECT
    s.hosting_id,
    s.run_key,
    s.leased_from,
    s.leased_to,
    coalesce(u.images, 0) AS images,
    u.first_answer_at,
    u.last_answer_at
FROM (
    SELECT hosting_id, run_id AS run_key, min(acquired_at) AS leased_from,
           max(coalesce(ended_at, strftime('%Y-%m-%d %H:%M:%f000', 'now'))) AS leased_to
    FROM leases
    GROUP BY hosting_id, run_id
) s
LEFT JOIN hosting_usage u ON u.run_id = s.run_key AND u.hosting_id = s.hosting_id;
CREATE VIEW hosting_costs AS
WITH covered AS (
    SELECT hosting_id, first_answer_at, last_answer_at,
           max(last_answer_at) OVER (
               PARTITION BY hosting_id ORDER BY first_answer_at, run_key
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered_to
    FROM run_stays
    WHERE images > 0
), working AS (
    SELECT hosting_id,
           sum(CASE
               WHEN covered_to IS NULL OR first_answer_at >= covered_to
                   THEN round((julianday(last_answer_at) - julianday(first_answer_at)) * 86400.0, 3)
               WHEN last_answer_at > covered_to
                   THEN round((julianday(last_answer_at) - julianday(covered_to)) * 86400.0, 3)
               ELSE 0
           END) AS seconds
    FROM covered
    GROUP BY hosting_id
), used AS (
    SELECT hosting_id, count(*) AS runs, sum(images) AS images
    FROM run_stays
    GROUP BY hosting_id
), billed AS (
    SELECT h.id,
           CASE WHEN NOT h.owned THEN 0.0 ELSE coalesce(max(0.0, round((julianday(h.paid_to) - julianday(h.paid_from)) * 86400.0, 3)), 0.0) END
               AS paid_seconds
    FROM (
        SELECT id, owned,
               CASE billed_from WHEN 'requested' THEN requested_at ELSE hosted_at END AS paid_from,
               coalesce(CASE billed_to WHEN 'stop_requested' THEN stop_requested_at END,
                        stopped_at, strftime('%Y-%m-%d %H:%M:%f000', 'now')) AS paid_to
        FROM hostings
    ) h
)
SELECT
    h.id AS hosting_id,
    h.model_id,
    m.project_name,
    m.model_version,
    m.host,
    h.status,
    h.owned,
    h.requested_by,
    h.requested_at,
    h.hosted_at,
    h.stop_requested_at,
    h.stopped_at,
    h.min_units AS inference_units,
    h.price_per_unit_hour,
    coalesce(u.runs, 0) AS runs,
    (coalesce(u.images, 0)) AS images,
    b.paid_seconds,
    min(b.paid_seconds, coalesce(w.seconds, 0.0)) AS working_seconds,
    b.paid_seconds - min(b.paid_seconds, coalesce(w.seconds, 0.0)) AS idle_seconds,
    b.paid_seconds / 3600.0 * h.min_units * h.price_per_unit_hour AS cost,
    b.paid_seconds / 3600.0 * h.min_units * h.price_per_unit_hour * 1000.0
        / nullif(u.images, 0) AS cost_per_thousand_images
FROM hostings h
JOIN models m ON m.id = h.model_id
JOIN billed b ON b.id = h.id
LEFT JOIN used u ON u.hosting_id = h.id
LEFT JOIN working w ON w.hosting_id = h.id;
CREATE VIEW run_costs AS
WITH shares AS (
    SELECT s.hosting_id, s.run_key, s.images,
           CASE
               WHEN sum(s.images) OVER hosting > 0
                   THEN s.images * 1.0 / sum(s.images) OVER hosting
               WHEN sum(s.seconds) OVER hosting > 0
                   THEN s.seconds / sum(s.seconds) OVER hosting
               ELSE 1.0 / count(*) OVER hosting
           END AS share
    FROM (
        SELECT hosting_id, run_key, images, round((julianday(leased_to) - julianday(leased_from)) * 86400.0, 3) AS seconds FROM run_stays
    ) s
    WINDOW hosting AS (PARTITION BY s.hosting_id)
)
SELECT
    r.run_id,
    s.hosting_id,
    s.images,
    s.share,
    c.paid_seconds * s.share AS paid_seconds,
    c.idle_seconds * s.share AS idle_seconds,
    c.cost * s.share AS cost
FROM shares s
JOIN runs r ON r.id = s.run_key
JOIN hosting_costs c ON c.hosting_id = s.hosting_id;
CREATE VIEW run_summary AS
WITH counted AS (
    SELECT run_id,
           (sum(accepted)) AS accepted, (sum(rejected)) AS rejected,
           (sum(review)) AS review, (sum(errors)) AS errors,
           (sum(reused)) AS reused, (sum(asked)) AS asked
    FROM tallies
    GROUP BY run_id
), waiting AS (
    SELECT run_id, count(*) AS pending FROM pending_items GROUP BY run_id
), paid AS (
    SELECT run_id, sum(paid_seconds) AS paid_seconds, sum(idle_seconds) AS idle_seconds,
           sum(cost) AS cost
    FROM run_costs
    GROUP BY run_id
)
SELECT
    r.run_id,
    r.flow_run_id,
    r.status,
    r.message,
    coalesce(m.project_name, r.project_name) AS project_name,
    coalesce(m.model_version, r.model_version) AS model_version,
    r.host,
    r.source,
    r.triggered_by,
    r.started_at,
    r.finished_at,
    r.manifest_sha256,
    r.manifest_lines,
    p.sha256 AS policy_sha256,
    r.code_version,
    coalesce(c.accepted + c.rejected + c.review + c.errors, 0) AS inspected,
    coalesce(c.accepted, 0) AS accepted,
    coalesce(c.rejected, 0) AS rejected,
    coalesce(c.review, 0) AS review,
    coalesce(c.errors, 0) AS errors,
    coalesce(c.reused, 0) AS reused,
    coalesce(c.asked, 0) AS asked,
    coalesce(w.pending, 0) AS pending,
    coalesce(x.paid_seconds, 0.0) AS paid_seconds,
    coalesce(x.idle_seconds, 0.0) AS idle_seconds,
    coalesce(x.cost, 0.0) AS cost,
    coalesce(x.cost, 0.0) * 1000.0
        / nullif(c.accepted + c.rejected + c.review + c.errors, 0) AS cost_per_thousand_images,
    r.current_decision AS decision
FROM runs r
JOIN decisions dc ON dc.run_id = r.id AND dc.number = r.current_decision
JOIN policies p ON p.id = dc.policy_id
LEFT JOIN models m ON m.id = r.model_id
LEFT JOIN counted c ON c.run_id = r.id
LEFT JOIN waiting w ON w.run_id = r.id
LEFT JOIN paid x ON x.run_id = r.run_id;
COMMIT;
