"""What the command lines share: reading configs, telling mistakes, from a distillation's config to its student's."""
