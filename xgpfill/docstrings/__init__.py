"""Texts of the calls that arrays and Datasets have alike; what differs is filled in where they are made."""

FIT = """Learn the covariance of the gappy field and condition on its observations.

        Parameters
        ----------{variable}
        dims : names in any order, or mapping, optional
            Dimensions to fit, e.g. ``("time", "lat", "lon")``; inferred when left out. A mapping says which is which:
            ``{{"time": "t", "y": "j", "x": "i"}}``. Other dimensions are independent fields that share the
            hyperparameters, each with a mean and a standard deviation of its own. Depth, height or pressure is one of
            these too unless it is named: ``("time", "depth", "lat", "lon")``, or ``{{"depth": "lev", ...}}``.
        coords : names, optional
            Of observations scattered along one dimension, the coordinates that say where and when each was made, e.g.
            ``dims=("obs",), coords=("time", "lat", "lon")``, or ``("x",)``. In any order; repeated ones are repeated
            measurements. Those of tracks and stations are recognised without.
        time_kernel, space_kernel : str, Kernel or None
            "matern12", "matern32", "matern52", "rbf", "rational_quadratic", "periodic", "spectral", "brownian" (time),
            "constant", or an object such as ``xgpfill.Matern(1.5, lengthscale=30.0)``; they compose with ``+`` and
            ``*``. Lengthscales are in days and km; a given one is where learning starts, unless the kernel has
            ``fixed=True``, while a given period is kept. ``variance=`` of a kernel is that of its term; where it and
            all else is held, the noise too, nothing is learned, and intervals are those of the normal law. None: no
            correlation along that axis. A GPyTorch kernel or a function of two arrays of coordinates is accepted too;
            see ``xgpfill.FromFunction``. "auto": the Matérn smoothness that predicts hidden observations best.
        depth_kernel : str, Kernel or None
            Where depth is among `dims`: how levels go together, a factor of every term, each with a lengthscale of its
            own in the unit of the levels. "matern32" by default; "matern12", "matern52", "rbf", "rational_quadratic",
            "constant", objects, sums and products of them, "auto" as above; None: levels are independent. Every level
            has a mean and a standard deviation of its own.
        combine : {{"anova", "product", "sum"}}, optional
            "anova" (default): a static space term, a common time term and `scales` space-time products. A fixed kernel,
            or None on one side, implies "product".
        scales : int
            Number of space-time products under anova.
        noise_std, noise_variance : float or DataArray, optional
            The noise as a standard deviation (data units) or as a variance (data units²), one number for all or one
            for each observation on the grid of the data. None learns one variance.
        noise_fixed : bool, optional
            Whether it stays as given: by default a number does, and of a DataArray a common factor is learned. With
            False learning starts from the number, with True the factor is one.
        noise : float or DataArray, optional
            A short name for either: ``noise=0.3`` is ``noise_variance=0.3`` (data units²), while a DataArray is read as
            ``noise_std`` (data units). Where it may have been meant otherwise, a warning says how it was read.
        trend : {{"constant"}}, number or None
            The mean of the field: "constant" is one that the data tell (ordinary kriging), None is zero, a number is
            that (simple kriging; data units).
        method : {{"auto", "exact", "iterative", "variational", "vecchia"}} or settings
            The engine, e.g. ``xgpfill.Iterative(num_samples=32)``. "auto" takes "exact" for up to 1,000 observations
            and beyond "iterative" on lattices; elsewhere "exact" to 4,000, "iterative" to 20,000, then "vecchia"; see
            ``xgpfill.select_method``.
        geometry : {{"auto", "sphere", "cylinder", "plane"}}
            What distance means; the sphere for latitude and longitude.
        valid : DataArray of True and False, 1 and 0, or 1 and NaN; or True, optional
            Where the field exists (sea); elsewhere the result is NaN. True: everywhere.
        hyperparameters : Dataset, optional
            Of an earlier model; nothing is learned then.
        tile, halo : optional
            Cells of a tile along some dimensions, and cells that it sees one by one beyond its own, e.g.
            ``tile={{"time": 30}}, halo={{"time": 5}}``. "auto": one tile whenever memory holds it, else the split that
            takes the least work. What lies beyond a halo is seen as averages; regular columns beyond it are not seen.
        check : {{"blocks", "full"}}
            On lazy data, whether to look for infinities only in what learning reads, or in all of it first.
        amplitude : bool
            Whether to look for places where the field and its noise vary more than elsewhere. A smooth map of how much
            is taken where it predicts hidden observations better; see :attr:`FittedModel.amplitude`.
        calibrate : bool
            Whether widths of intervals are fitted to hidden observations; see :attr:`FittedModel.calibration`. Mean,
            variance and samples are not changed by it.
        device : {{"auto", "cpu", "cuda"}}
        dtype : {{"float64", "float32"}}
        seed : int
            Same seed, same answer.
        progress : bool, optional
            Show progress bars; by default when someone is watching.

        Returns
        -------
        {returns}

        Raises
        ------
        XgpfillError
            A ValueError that says what was found, what was expected and what to type.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
        >>> {example}
        >>> mean, variance = model.reconstruct()
        >>> mean.dims
        ('time', 'lat', 'lon')
        """


DESCRIBE = """Describe the field before anything is fitted: axes, gaps, values, and settings that suit it.

        The data are read once, chunk by chunk; of lazy data only where they are observed is kept in memory.

        Parameters
        ----------{variable}
        dims : names or mapping, optional
            Dimensions to fit, as in ``fit``; inferred when left out.
        valid : bool DataArray or True, optional
            Where the field exists; the figures are about these cells. Without it, places that are never observed are
            left out of the figures and their share is told apart; ``True`` counts them as gaps.
        max_cells : int
            With more cells than this, evenly spaced steps of time are read, which the description says; gap
            durations are left out then.

        Returns
        -------
        Description
            With all figures as attributes; ``.to_dataset()`` gives them as a Dataset.

        Raises
        ------
        XgpfillError
            When dimensions are missing or ambiguous, `valid` does not align, or the data are no real numbers. What
            else ``fit`` would refuse is listed among its ``problems``.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
        >>> found = {example}
        >>> found.axes[0].name, found.axes[0].size
        ('time', 10)
        >>> found.durations.units
        'days'
        """


PAD = """Continue the field past its edges, so that stencils, networks and tiles have sane borders there.

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
