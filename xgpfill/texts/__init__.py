"""Long docstrings of the accessor, which several of its methods share. Nothing is computed here."""

from __future__ import annotations

PAD_DOC = """Continue the field past its edges, so that stencils, networks and tiles have sane borders there.

        Each field is continued by an autoregressive model that least squares fits to it, as linear prediction padding
        [1]_ does for convolutions, or by the Gaussian process of ``fit``. Longitudes that close wrap exactly.

        Parameters
        ----------
        pad_width : mapping of dimension to int or (int, int)
            Cells to add, before and after, along one dimension or two.{variable}
        mode : {{"lp2x1", "lp1x1", "lp2x3", "gp"}}
            What a cell is predicted from: one row before it, two (default), or two rows of three cells. "gp": the
            posterior mean of a model fitted to all dimensions that ``fit`` would take, which takes seconds to minutes.
            Modes that use no fit, "edge" or "reflect", are those of xarray's ``pad``.
        method : {{"cov_stab", "cov_sym_stab", "correlation"}}, optional
            How coefficients of linear prediction are found. "cov_stab": least squares, one set for each side, with
            poles reflected into the unit circle so that nothing grows; "cov_sym_stab": the same set for both sides;
            "correlation": from the autocorrelation under a Tukey window, what "lp2x3" takes.
        dims : names, optional
            The one or two dimensions that make a field; others are independent. By default those of `pad_width`, and
            of space the other direction. "gp" fits these alone.

        Returns
        -------
        {returns}
            Lazy if the data are. Dtype (integers become float64), attributes and coordinates are kept; those of
            dimensions go on in even steps, others are missing in the margins.

        Raises
        ------
        DataError
            When there are gaps; of lazy data when they are computed.
        CoordinateError
            When steps are uneven, or would lead beyond a pole or more than once round the globe.
        DimensionError, MethodError, VariableError
            When a name is unknown, or a field is smaller than what it is predicted from.

        References
        ----------
        .. [1] Niemitalo et al. 2025, Per-channel autoregressive linear prediction padding in tiled CNN processing of
           2D spatial data, arXiv:2502.12300.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=2, nlat=8, nlon=10)[["truth"]].fillna(15.0)
        >>> padded = {example}
        >>> padded.sizes["lat"], padded.sizes["lon"]
        (13, 14)
        """
