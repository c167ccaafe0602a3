data "aws_caller_identity" "me" {}

# One key for what the house keeps: disks, logs, the bucket, Kubernetes' secrets.
resource "aws_kms_key" "house" {
  description         = var.name
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:the policy of a key: without its account nobody could change it again
  #checkov:skip=CKV_AWS_111:in a key's policy the resource is that key
  #checkov:skip=CKV_AWS_356:in a key's policy the resource is that key
  statement {
    sid       = "account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.me.account_id}:root"]
    }
  }

  statement {
    sid       = "logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
  }
}
