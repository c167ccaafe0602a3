# Whoever may reach the stores: the cluster's nodes and pods, at the store's port.
resource "aws_security_group" "store" {
  for_each    = { kafka = 9096, postgres = 5432, redis = 6379 }
  name        = "${var.name}-${each.key}"
  description = "${each.key}, from the cluster"
  vpc_id      = aws_vpc.house.id

  ingress {
    description     = "the cluster"
    from_port       = each.value
    to_port         = each.value
    protocol        = "tcp"
    security_groups = [aws_eks_cluster.house.vpc_config[0].cluster_security_group_id]
  }
}

# The event log: three copies, two of which must have what is acknowledged.
resource "aws_msk_configuration" "kafka" {
  name           = var.name
  kafka_versions = ["3.8.x"]

  server_properties = <<-PROPERTIES
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
  PROPERTIES
}

resource "aws_msk_cluster" "kafka" {
  cluster_name           = var.name
  kafka_version          = "3.8.x"
  number_of_broker_nodes = var.kafka.brokers

  broker_node_group_info {
    instance_type   = var.kafka.type
    client_subnets  = local.subnets
    security_groups = [aws_security_group.store["kafka"].id]

    storage_info {
      ebs_storage_info {
        volume_size = var.kafka.gb
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.kafka.arn
    revision = aws_msk_configuration.kafka.latest_revision
  }

  client_authentication {
    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.house.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  open_monitoring {
    prometheus {
      jmx_exporter {
        enabled_in_broker = true
      }

      node_exporter {
        enabled_in_broker = true
      }
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.kafka.name
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "kafka" {
  name              = "/${var.name}/kafka"
  retention_in_days = 365
  kms_key_id        = aws_kms_key.house.arn
}

# The metastore: a standby in another zone, backups to any second of two weeks.
resource "aws_db_subnet_group" "metastore" {
  name       = var.name
  subnet_ids = local.subnets
}

resource "aws_db_parameter_group" "metastore" {
  name   = var.name
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

resource "aws_db_instance" "metastore" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = var.metastore.class
  allocated_storage               = var.metastore.gb
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = aws_kms_key.house.arn
  db_name                         = "penstock"
  username                        = "penstock"
  manage_master_user_password     = true
  multi_az                        = true
  db_subnet_group_name            = aws_db_subnet_group.metastore.name
  vpc_security_group_ids          = [aws_security_group.store["postgres"].id]
  parameter_group_name            = aws_db_parameter_group.metastore.name
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${var.name}-last"
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  performance_insights_kms_key_id = aws_kms_key.house.arn
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn

  iam_database_authentication_enabled = true
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-database-monitoring"
  assume_role_policy = data.aws_iam_policy_document.monitoring_trust.json
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

# The cache: what it loses is computed again, so it keeps no backups.
resource "aws_elasticache_subnet_group" "cache" {
  name       = var.name
  subnet_ids = local.subnets
}

resource "aws_elasticache_parameter_group" "cache" {
  name   = var.name
  family = "redis7"

  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lru"
  }
}

resource "aws_elasticache_replication_group" "cache" {
  replication_group_id       = var.name
  description                = "Penstock's cache"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.cache.type
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  parameter_group_name       = aws_elasticache_parameter_group.cache.name
  subnet_group_name          = aws_elasticache_subnet_group.cache.name
  security_group_ids         = [aws_security_group.store["redis"].id]
  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.house.arn
  transit_encryption_enabled = true
  auth_token                 = var.cache_password
}

# Old events. ClickHouse alone writes here, and alone knows which objects it still needs: nothing here deletes one of them.
resource "aws_s3_bucket" "cold" {
  #checkov:skip=CKV_AWS_18:one role reads and writes it, with ClickHouse's own log of queries
  #checkov:skip=CKV2_AWS_62:nobody waits for news of it
  #checkov:skip=CKV_AWS_144:a second region is the operator's choice, and doubles the price
  bucket = "${var.name}-cold-${data.aws_caller_identity.me.account_id}"
}

resource "aws_s3_bucket_public_access_block" "cold" {
  bucket                  = aws_s3_bucket.cold.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "cold" {
  bucket = aws_s3_bucket.cold.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.house.arn
    }
  }
}

# What was deleted or written over can be had back for a week.
resource "aws_s3_bucket_versioning" "cold" {
  bucket = aws_s3_bucket.cold.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "cold" {
  bucket     = aws_s3_bucket.cold.id
  depends_on = [aws_s3_bucket_versioning.cold]

  rule {
    id     = "colder"
    status = "Enabled"

    filter {}

    # Not to Glacier: a query reads them at once.
    transition {
      days          = var.cold_to_infrequent_days
      storage_class = "STANDARD_IA"
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "cold" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.cold.arn]
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.cold.arn}/*"]
  }

  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.house.arn]
  }
}

resource "aws_iam_role_policy" "cold" {
  role   = aws_iam_role.pods["clickhouse"].id
  policy = data.aws_iam_policy_document.cold.json
}
