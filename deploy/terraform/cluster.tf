locals {
  subnets = [for subnet in aws_subnet.private : subnet.id]

  node_groups = {
    system     = { nodes = var.system_nodes, capacity = "ON_DEMAND", labels = {}, taints = {} }
    spot       = { nodes = var.spot_nodes, capacity = "SPOT", labels = { "karpenter.sh/capacity-type" = "spot" }, taints = { "penstock/spot" = "true" } }
    clickhouse = { nodes = var.clickhouse_nodes, capacity = "ON_DEMAND", labels = { "penstock/clickhouse" = "true" }, taints = {} }
  }
}

resource "aws_eks_cluster" "house" {
  name                      = var.name
  version                   = var.kubernetes
  role_arn                  = aws_iam_role.cluster.arn
  enabled_cluster_log_types = ["api", "audit", "authenticator", "controllerManager", "scheduler"]

  vpc_config {
    subnet_ids              = local.subnets
    endpoint_private_access = true
    endpoint_public_access  = length(var.operators) > 0
    public_access_cidrs     = length(var.operators) > 0 ? var.operators : null
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.house.arn
    }
  }

  access_config {
    authentication_mode = "API"
  }

  depends_on = [aws_iam_role_policy_attachment.cluster]
}

resource "aws_iam_role" "cluster" {
  name               = "${var.name}-cluster"
  assume_role_policy = data.aws_iam_policy_document.cluster_trust.json
}

data "aws_iam_policy_document" "cluster_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_node_group" "nodes" {
  for_each        = local.node_groups
  cluster_name    = aws_eks_cluster.house.name
  node_group_name = each.key
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = local.subnets
  capacity_type   = each.value.capacity
  instance_types  = each.value.nodes.types
  labels          = each.value.labels

  scaling_config {
    min_size     = each.value.nodes.min
    max_size     = each.value.nodes.max
    desired_size = each.value.nodes.min
  }

  launch_template {
    id      = aws_launch_template.nodes.id
    version = aws_launch_template.nodes.latest_version
  }

  dynamic "taint" {
    for_each = each.value.taints

    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }

  update_config {
    max_unavailable = 1
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the cluster's autoscaler says it
  }

  depends_on = [aws_iam_role_policy_attachment.nodes]
}

resource "aws_launch_template" "nodes" {
  name = "${var.name}-nodes"

  # A pod gets no role by its node's.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type = "gp3"
      volume_size = 100
      encrypted   = true
    }
  }
}

resource "aws_iam_role" "nodes" {
  name               = "${var.name}-nodes"
  assume_role_policy = data.aws_iam_policy_document.nodes_trust.json
}

data "aws_iam_policy_document" "nodes_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "nodes" {
  for_each   = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly"])
  role       = aws_iam_role.nodes.name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

# Names for pods' service accounts (IRSA): ClickHouse's to the bucket, the disks' driver.
resource "aws_iam_openid_connect_provider" "pods" {
  url            = aws_eks_cluster.house.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "pod_trust" {
  for_each = { clickhouse = "${var.name}:${var.name}-clickhouse", disks = "kube-system:ebs-csi-controller-sa" }

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.pods.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${replace(aws_iam_openid_connect_provider.pods.url, "https://", "")}:sub"
      values   = ["system:serviceaccount:${each.value}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${replace(aws_iam_openid_connect_provider.pods.url, "https://", "")}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "pods" {
  for_each           = data.aws_iam_policy_document.pod_trust
  name               = "${var.name}-${each.key}"
  assume_role_policy = each.value.json
}

resource "aws_iam_role_policy_attachment" "disks" {
  role       = aws_iam_role.pods["disks"].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}

resource "aws_eks_addon" "addons" {
  for_each                 = { vpc-cni = null, coredns = null, kube-proxy = null, aws-ebs-csi-driver = aws_iam_role.pods["disks"].arn }
  cluster_name             = aws_eks_cluster.house.name
  addon_name               = each.key
  service_account_role_arn = each.value
  # The chart's network policies are enforced by it.
  configuration_values = each.key == "vpc-cni" ? jsonencode({ enableNetworkPolicy = "true" }) : null
  depends_on           = [aws_eks_node_group.nodes]
}
