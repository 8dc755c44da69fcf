"""Draw the panel's buttons, forms, tables, plots and toasts, which know no project."""
