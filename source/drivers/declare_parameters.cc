#include <palpate/drivers/problem.h>
#include <palpate/optimizers/adam.h>
#include <palpate/optimizers/optimizer.h>
#include <palpate/parameterizations/graph_network.h>

#include <boost/algorithm/string.hpp>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    /// Entries of all terms of a kind in one section, those known in 2D only
    /// too. Terms may share entries (sms and sms finite strain).
    template <template <int> class Base>
    void
    declare_all(ParameterHandler &prm, const std::string &group = "")
    {
      for (const auto &[name, item] : Registry<Base<2>>::items())
        if (item.group == group && Registry<Base<3>>::items().count(name) == 0)
          item.declare_parameters(prm);
      for (const auto &[name, item] : Registry<Base<3>>::items())
        if (item.group == group)
          item.declare_parameters(prm);
    }

    void
    declare_objective(ParameterHandler  &prm,
                      const std::string &name,
                      const std::string &description,
                      const std::function<void(ParameterHandler &)> &declare)
    {
      prm.enter_subsection(name);
      prm.declare_entry("Weight",
                        name == "Displacement misfit" ? "1" : "0",
                        Patterns::Double(0),
                        "Weight of: " + description + ".");
      prm.declare_entry(
        "Power",
        "1",
        Patterns::Double(-10, 10),
        "p of Weight * A^p, what the term contributes, from -10 to 10, not 0; A "
        "is its mean over snapshots, or what Times makes of them, above 0 where p "
        "is not whole.");
      prm.declare_entry(
        "Enters as",
        "summand",
        Patterns::Selection("summand|factor"),
        "factor: multiplies the sum of the summands (1 if there "
        "are none); -1 as Power divides. One that is 0 at the start makes all 0.");
      prm.declare_entry("Times",
                        "all",
                        Patterns::Anything(),
                        "Motions in time: all (the mean over Time/Snapshot "
                        "times), sum (over them), final, or a list of some of "
                        "them [s], whose mean counts.");
      declare(prm);
      prm.leave_subsection();
    }

    void
    declare_case(ParameterHandler &prm)
    {
      prm.declare_entry(
        "File",
        "",
        Patterns::Anything(),
        "Case pack (.npz; several, separated by commas, or a pattern such as "
        "t_*.npz: a timestamp of the same mesh each, in that order), mesh "
        "(.msh, .vtk, .vtu; for edge springs also "
        "surfaces: .obj, .off, .ply, .stl, .inp, ...) or the "
        "case.json of Task = partition (in m), of which a rank reads its parts "
        "only.");
      prm.declare_entry("Length unit",
                        "m",
                        Patterns::Selection("m|cm|mm"),
                        "Unit of the file's coordinates and displacements.");
      prm.declare_entry(
        "Join vertices",
        "",
        Patterns::Anything(),
        "Vertices of a file closer together than this become "
        "one [m]; empty: those of files of discontinuous fields, "
        "where each cell has its own; 0: none.");
      prm.declare_entry(
        "Label array",
        "",
        Patterns::Anything(),
        "The array of the cells of a .vtk or .vtu that holds the "
        "labels; empty: labels, label, material_id, material, "
        "MaterialID, MaterialIDs, gmsh:physical, medit:ref, "
        "CellEntityIds or region.");
      prm.declare_entry(
        "Coordinates",
        "of file",
        Patterns::Selection("of file|RAS|LPS"),
        "Axes of the file's coordinates and displacements: what "
        "the file says (SPACE=LPS, as 3D Slicer writes), RAS if it "
        "is silent; RAS; or LPS, whose x and y are turned.");
      prm.declare_entry("Repair orientation",
                        "true",
                        Patterns::Bool(),
                        "Reorder negatively oriented cells (they are counted); "
                        "false: refuse them.");
      prm.declare_entry("Label function",
                        "",
                        Patterns::Anything(),
                        "Labels of the cells as an expression of x, y, z [m] "
                        "at the barycentre, e.g. if(z < 0.1, 1, 2); empty: "
                        "those of the file or shape.");
      prm.declare_entry("Shape",
                        "",
                        Patterns::Selection(
                          "|box|truncated cone|ball|ellipsoid pair|"
                          "rectangle|disk|torus|sheet"),
                        "Mesh this shape instead of reading a file. torus "
                        "(around z) and sheet are surfaces, for edge springs.");
      prm.enter_subsection("Generated shape");
      prm.declare_entry("Mesh size",
                        "0.05",
                        Patterns::Double(),
                        "Edge length [m] of an unstructured mesh.");
      prm.declare_entry("Lower corner",
                        "0, 0, 0",
                        Patterns::List(Patterns::Double(), 2, 3),
                        "box, rectangle, sheet [m].");
      prm.declare_entry("Upper corner",
                        "1, 1, 1",
                        Patterns::List(Patterns::Double(), 2, 3),
                        "box, rectangle, sheet [m].");
      prm.declare_entry("Subdivisions",
                        "0, 0, 0",
                        Patterns::List(Patterns::Integer(0), 2, 3),
                        "box, rectangle: cubes per side of a structured mesh; "
                        "zeros: unstructured. torus: along and around the "
                        "tube; sheet: along x and y.");
      prm.declare_entry("Tetrahedra per cube",
                        "6",
                        Patterns::Selection("5|6"),
                        "box with Subdivisions.");
      prm.declare_entry("Bottom radius",
                        "0.2",
                        Patterns::Double(),
                        "truncated cone, at z = 0 [m].");
      prm.declare_entry("Top radius",
                        "0.1",
                        Patterns::Double(),
                        "truncated cone, at z = Height [m].");
      prm.declare_entry("Height",
                        "0.6",
                        Patterns::Double(),
                        "truncated cone [m].");
      prm.declare_entry("Wedge angle",
                        "0",
                        Patterns::Double(),
                        "truncated cone: azimuth [degrees] of a sector with "
                        "label 2; the mesh conforms to it.");
      prm.declare_entry("Radius", "0.5", Patterns::Double(), "ball, disk [m].");
      prm.declare_entry("Semi-axes",
                        "0.06, 0.08, 0.12",
                        Patterns::List(Patterns::Double(), 3, 3),
                        "ellipsoid pair [m].");
      prm.declare_entry("Major radius",
                        "1",
                        Patterns::Double(),
                        "torus, of the circle in the middle of the tube [m].");
      prm.declare_entry("Minor radius",
                        "0.4",
                        Patterns::Double(),
                        "torus, of the tube [m].");
      prm.declare_entry("Gap",
                        "0.03",
                        Patterns::Double(),
                        "ellipsoid pair, along x [m].");
      prm.leave_subsection();
    }

    void
    declare_training(ParameterHandler &prm)
    {
      AdamParameters::declare_parameters(prm);
      prm.declare_entry("Seed",
                        "42",
                        Patterns::Integer(0),
                        "Of the weights' start and of the order of the cases.");
      prm.declare_entry("Cases per update",
                        "0",
                        Patterns::Integer(0),
                        "An update takes the mean over this many cases; 0: one "
                        "per group of ranks.");
      prm.declare_entry("Ranks per case",
                        "0",
                        Patterns::Integer(0),
                        "Ranks of a group, which work on one case while other "
                        "groups work on others; 0: all ranks on every case.");
      prm.declare_entry("Patience",
                        "0",
                        Patterns::Integer(0),
                        "Stop after this many epochs without a better "
                        "validation loss; 0: never.");
      prm.declare_entry("Cases in memory",
                        "0",
                        Patterns::Integer(0),
                        "Of a group; the least recently used one is dropped "
                        "and read again when it is needed; 0: all.");
      prm.declare_entry("Baselines",
                        "",
                        Patterns::Anything(),
                        "Trained and reported as well: mean value, linear law, "
                        "smoothed linear law, per-case inversion.");
      prm.declare_entry("Output case",
                        "",
                        Patterns::Anything(),
                        "Case whose stiffness and motion are written every "
                        "Output every epochs.");
      prm.declare_entry("Output every",
                        "10",
                        Patterns::Integer(1),
                        "Epochs between these outputs.");
    }

    void
    declare_landmarks(ParameterHandler &prm)
    {
      prm.declare_entry("Points",
                        "",
                        Patterns::Anything(),
                        "Text files: x, y, z and the moved x, y, z in every "
                        "line, one file per timestamp; or one file of x, y, z "
                        "beside Moved points.");
      prm.declare_entry("Moved points",
                        "",
                        Patterns::Anything(),
                        "Text files of x, y, z, one per timestamp.");
      prm.declare_entry("Timestamps",
                        "",
                        Patterns::Anything(),
                        "Of these files, from 0; empty: all, in order.");
      prm.declare_entry("Coordinates",
                        "RAS",
                        Patterns::Selection("RAS|LPS|voxels"),
                        "Of the points; DIR-Lab counts voxels.");
      prm.declare_entry("Length unit",
                        "mm",
                        Patterns::Selection("m|cm|mm"),
                        "Of RAS and LPS coordinates.");
      prm.declare_entry("Voxels of",
                        "",
                        Patterns::Anything(),
                        "The NIfTI volume whose voxels are counted.");
      prm.declare_entry("First voxel",
                        "1",
                        Patterns::Integer(0, 1),
                        "Index of the first voxel; DIR-Lab counts from 1.");
    }

    void
    declare_phantom(ParameterHandler &prm)
    {
      const auto real = [&](const std::string &name,
                            const std::string &value,
                            const std::string &text) {
        prm.declare_entry(name, value, Patterns::Double(), text);
      };
      prm.declare_entry("Seed",
                        "1",
                        Patterns::Integer(0),
                        "Another seed is another patient.");
      prm.declare_entry("Phases",
                        "10",
                        Patterns::Integer(1, 99),
                        "Of one breath; phase 0 is that of the meshes.");
      prm.declare_entry("Samples per voxel",
                        "2",
                        Patterns::Integer(1, 8),
                        "Per direction, for the partial volume of the CT.");
      prm.declare_entry("Landmarks",
                        "100",
                        Patterns::Integer(0),
                        "Points whose motion is written to landmarks_*.csv.");
      real("Voxel size", "0.004", "Edge of the cubic voxels [m].");
      real("Mesh size", "0.01", "Cell size of lung.msh and truth.npz [m].");
      real("Fine mesh size",
           "0",
           "Cell size of fine.npz [m], another mesh of the same lungs; 0: "
           "none.");
      real("CT noise", "10", "Standard deviation [HU].");
      real("Diaphragm motion", "0.02", "Of a full breath [m].");
      real("Chest expansion",
           "0.04",
           "Relative growth from left to right at the diaphragm; from back to "
           "front it is half as much again.");
      real("Texture", "40", "Standard deviation of the parenchyma [HU].");
      real("Stiffness", "2236", "alpha [Pa] at -850 HU.");
      real("Stiffness slope", "0.2", "Change of log alpha per 100 HU.");
      real("Neighborhood slope",
           "0.8",
           "Change of log alpha per 100 HU of the mean around a point.");
      real("Neighborhood radius", "0.01", "Of that mean [m].");
    }

    void
    declare_images(ParameterHandler &prm)
    {
      prm.declare_entry(
        "CT",
        "",
        Patterns::Anything(),
        "Volumes [HU], separated by commas (NIfTI, MetaImage, NRRD, "
        "folders of DICOM series): one, one per timestamp, or "
        "one more, the first that of the mesh.");
      prm.declare_entry("DICOM series",
                        "",
                        Patterns::Anything(),
                        "A part of the UID or the description of the series to "
                        "take, where a folder has several.");
      prm.declare_entry(
        "Displacements",
        "",
        Patterns::Anything(),
        "Vector fields (NIfTI, MetaImage, NRRD), one per timestamp.");
      prm.declare_entry("Displacement unit",
                        "mm",
                        Patterns::Selection("m|cm|mm"),
                        "Of the vectors.");
      prm.declare_entry("Displacement convention",
                        "automatic",
                        Patterns::Selection("automatic|RAS|LPS"),
                        "Directions of the vectors' components, in images that "
                        "are read or (Rasterise like) written. automatic: what "
                        "the file says, else RAS of NIfTI and LPS of MetaImage "
                        "and NRRD, as ITK writes them; written in RAS.");
      prm.declare_entry("Sequence",
                        "from first",
                        Patterns::Selection("from first|chained"),
                        "from first: every field starts at the mesh's phase; "
                        "chained: phase to phase, the mesh is carried along.");
      prm.declare_entry("HU outside",
                        "nearest",
                        Patterns::Selection("nearest|error"),
                        "What a vertex outside an image gets.");
      prm.declare_entry("Rasterise like",
                        "",
                        Patterns::Anything(),
                        "forward, evaluate, identify in 3D: an image on "
                        "whose grid stiffness, strain and volume change and "
                        "displacement [mm] are written as well (.nii.gz in the "
                        "output directory).");
      prm.declare_entry("Rasterise background",
                        "0",
                        Patterns::Double(),
                        "Value of voxels whose centre is in no cell.");
      prm.declare_entry("Sampling",
                        "vertex mean",
                        Patterns::Selection("vertex mean|cell average"),
                        "HU of a cell: mean over its vertices, or average over "
                        "its volume.");
    }

    void
    declare_mesh(ParameterHandler &prm)
    {
      prm.declare_entry(
        "Mask",
        "",
        Patterns::Anything(),
        "mesh: a segmentation (an image of whole numbers, those "
        "above 0 are labels), or a list of files, of which each "
        "is one label, numbered by its place.");
      prm.declare_entry("Labels",
                        "",
                        Patterns::List(Patterns::Integer(), 0),
                        "Of a mask of one file: those to mesh; empty: all.");
      prm.declare_entry(
        "Cell size",
        "",
        Patterns::Anything(),
        "Mean edge of the tetrahedra aimed at [m]; empty: about "
        "30,000 of them.");
      prm.declare_entry("Cell size factors",
                        "",
                        Patterns::Anything(),
                        "Of the cell size, by label: 2: 0.5; 5: 2.");
      prm.declare_entry("Surface factor",
                        "1",
                        Patterns::Double(0),
                        "Edges of the triangles on the surface and between "
                        "labels, relative to those of the cells there.");
      prm.declare_entry("Surface distance",
                        "",
                        Patterns::Anything(),
                        "How far those triangles may be from the smoothed mask "
                        "[m]; empty: an eighth of the cell size.");
      prm.declare_entry("Smoothing",
                        "1",
                        Patterns::Double(0, 10),
                        "Standard deviation of the Gaussian that takes the "
                        "voxels' steps away [voxels]; every label keeps its "
                        "volume.");
      prm.declare_entry("Smallest island",
                        "",
                        Patterns::Anything(),
                        "Islands of a label of less volume [m^3] are given to "
                        "what is around them; empty: cell size cubed.");
      prm.declare_entry("Fill holes",
                        "false",
                        Patterns::Bool(),
                        "Give cavities to the label around them.");
    }

    void
    declare_observation(ParameterHandler &prm)
    {
      prm.declare_entry(
        "Computed by",
        "",
        Patterns::Anything(),
        "A parameter file with Task = forward, or simulate for motions: its "
        "displacement, interpolated to this mesh, is the registered one. Use "
        "another mesh or model than this file's.");
      prm.declare_entry("Largest share outside",
                        "0.01",
                        Patterns::Double(0, 1),
                        "Computed by: of this mesh's vertices, which take the "
                        "value of that body's nearest point; outside is what "
                        "is farther from it than a quarter of the mean edge of "
                        "its cell there. More are refused.");
      prm.declare_entry("Formula",
                        "",
                        Patterns::Anything(),
                        "The displacement [m] by component as formulas of x, "
                        "y, z [m] and the time t [s], \"0; 0.7*sin(x)\"; "
                        "t = 1 where there is no time.");
      prm.declare_entry("Noise",
                        "0",
                        Patterns::Double(0),
                        "Gaussian noise per component, as a fraction of the "
                        "root-mean-square displacement magnitude / sqrt(dim).");
      prm.declare_entry("Noise seed",
                        "1",
                        Patterns::Integer(0),
                        "The same noise on every machine.");
      prm.declare_entry("Held out fraction",
                        "0",
                        Patterns::Double(0, 0.95),
                        "Share of the free vertices left out of the misfit; "
                        "their error is reported.");
      prm.declare_entry("Held out seed",
                        "1",
                        Patterns::Integer(0),
                        "Of the random choice of vertices.");
    }
  } // namespace

  void
  declare_parameters(ParameterHandler &prm)
  {
    prm.declare_entry("Task",
                      "",
                      Patterns::Selection(
                        "|forward|simulate|evaluate|identify|verify|mesh|pack|"
                        "partition|train|predict|phantom"),
                      "What to do: forward solves for the displacement, "
                      "simulate computes a motion in time, "
                      "evaluate gives objective and gradient, identify "
                      "recovers the stiffness, verify runs Taylor tests, mesh "
                      "makes tetrahedra of a segmentation, pack "
                      "makes a case pack of a mesh and images, partition "
                      "cuts a case into parts for as many ranks, train "
                      "fits the graph network to a cohort, predict applies it, "
                      "phantom writes "
                      "a synthetic 4D CT.");
    prm.declare_entry("Output directory",
                      "output",
                      Patterns::Anything(),
                      "Created if needed.");
    prm.declare_entry(
      "Verbosity",
      "normal",
      Patterns::Selection("quiet|normal"),
      "quiet: nothing but errors; warnings are in summary.json.");
    prm.declare_entry("Additional shared libraries",
                      "",
                      Patterns::Anything(),
                      "Libraries with terms of your own, separated by commas.");

    prm.enter_subsection("Case");
    declare_case(prm);
    prm.leave_subsection();

    prm.enter_subsection("Partition");
    prm.declare_entry("Number of parts",
                      "2",
                      Patterns::Integer(1, 9999),
                      "Task = partition: as many ranks can share the case, or "
                      "fewer.");
    prm.leave_subsection();

    prm.enter_subsection("Observation");
    declare_observation(prm);
    prm.leave_subsection();

    prm.enter_subsection("Images");
    declare_images(prm);
    prm.leave_subsection();

    prm.enter_subsection("Mesh");
    declare_mesh(prm);
    prm.leave_subsection();

    prm.enter_subsection("Pack");
    prm.declare_entry("Output file",
                      "case.npz",
                      Patterns::Anything(),
                      "The case pack to write.");
    prm.declare_entry("Density",
                      "from HU",
                      Patterns::Anything(),
                      "from HU: max(HU + 1000, floor) kg/m^3, or a number.");
    prm.declare_entry("HU density floor",
                      "10",
                      Patterns::Double(0),
                      "kg/m^3; air and noise of the CT reach below 0.");
    prm.declare_entry("Stiffness",
                      "none",
                      Patterns::Selection("none|clamped law|linear law"),
                      "alpha_k as a start. clamped law: E = 1 kPa at -950 HU "
                      "to 20 kPa at -200 HU, constant beyond, and "
                      "alpha = E / (4 (1 + nu)); linear law: log alpha linear "
                      "in HU, from 500 Pa at the lower end of HU range to "
                      "10 kPa at the upper, constant beyond.");
    prm.declare_entry("HU range",
                      "",
                      Patterns::List(Patterns::Double(), 0, 2),
                      "Of the linear law; empty: the lowest and the highest of "
                      "this case (train takes those of the cohort).");
    prm.declare_entry("Poisson ratio",
                      "0.4",
                      Patterns::Double(),
                      "nu of the clamped law.");
    prm.leave_subsection();

    prm.enter_subsection("Cohort");
    prm.declare_entry("Cases",
                      "",
                      Patterns::Anything(),
                      "Case packs to train on, separated by commas.");
    prm.declare_entry("Validation cases",
                      "",
                      Patterns::Anything(),
                      "Case packs that only choose the best model.");
    prm.leave_subsection();

    prm.enter_subsection("Network");
    GraphNetwork<3>::declare_network(prm);
    prm.declare_entry("File",
                      "",
                      Patterns::Anything(),
                      "predict: network.json or network.npz of a training.");
    prm.declare_entry("Reference stiffness",
                      "",
                      Patterns::Anything(),
                      "train: geometric mean of alpha [Pa] over the cohort, "
                      "where the data give no scale; empty: what the start "
                      "within the bounds led to, an assumption.");
    prm.leave_subsection();

    prm.enter_subsection("Training");
    declare_training(prm);
    prm.leave_subsection();

    prm.enter_subsection("Landmarks");
    declare_landmarks(prm);
    prm.leave_subsection();

    prm.enter_subsection("Phantom");
    declare_phantom(prm);
    prm.leave_subsection();

    prm.enter_subsection("Boundary conditions");
    prm.declare_entry(
      "Constrained vertices",
      "surface",
      Patterns::Selection("boundary_nodes|surface|boundary ids|formula|none"),
      "boundary_nodes: the pack's array; boundary ids: those listed below; "
      "formula: where Constrained formula is above 0.");
    prm.declare_entry("Constrained formula",
                      "",
                      Patterns::Anything(),
                      "An expression of x, y, z [m], 0.01 - x; for the pins of "
                      "networks.");
    prm.declare_entry("Boundary ids",
                      "",
                      Patterns::Anything(),
                      "Ids of the constrained surfaces, separated by commas; "
                      "0: faces in no physical surface, all those of a pack. "
                      "A face may have several.");
    prm.declare_entry("Prescribed values",
                      "registered",
                      Patterns::Selection("zero|registered|function"),
                      "Displacement of the constrained vertices.");
    prm.declare_entry("Prescribed function",
                      "",
                      Patterns::Anything(),
                      "Displacement [m] by component as formulas of x, y, z "
                      "[m] and the time t [s], \"0; 0; 0.1*t\"; t = 1 where "
                      "there is no time.");
    prm.declare_entry("Prescribed scale",
                      "1",
                      Patterns::Double(),
                      "Fraction of the registered motion; the observation is "
                      "scaled likewise.");
    prm.leave_subsection();

    prm.enter_subsection("Initial state");
    for (const char *name : {"Displacement", "Velocity"})
      {
        const std::string unit =
          std::string(name) == "Velocity" ? " [m/s]" : " [m]";
        prm.declare_entry(name,
                          "",
                          Patterns::Anything(),
                          "Of motions, by component as formulas of x, y, z "
                          "[m], \"0; 0; -2\"" +
                            unit +
                            "; or a file .npz, such as the result.npz of a "
                            "motion, whose last values at the vertices it "
                            "takes; empty: zero. Constrained vertices have " +
                            (std::string(name) == "Velocity"
                               ? "the velocity dg/dt(0) of what is prescribed."
                               : "what is prescribed at t = 0."));
        prm.declare_entry(std::string(name) + " by label",
                          "",
                          Patterns::Anything(),
                          "Added where cells have a label, \"2: 0, 0, -1; "
                          "...\"" +
                            unit + "; a vertex takes the mean of its cells.");
      }
    prm.leave_subsection();

    prm.enter_subsection("Time");
    prm.declare_entry("Snapshot times",
                      "",
                      Patterns::Anything(),
                      "When an objective looks at a motion, and when "
                      "registered displacements are those of the body [s]: a "
                      "list, final or every step; empty: final.");
    TimeParameters::declare_parameters(prm);
    prm.leave_subsection();

    prm.enter_subsection("Loads");
    prm.declare_entry("Density",
                      "1000",
                      Patterns::Anything(),
                      "kg/m^3: a number, pack (density, else mass) or from HU "
                      "(hu_tetra_mean).");
    prm.declare_entry("HU density floor",
                      "10",
                      Patterns::Double(0),
                      "Density = max(HU + 1000, this) [kg/m^3].");
    prm.declare_entry("Mass",
                      "1",
                      Patterns::Anything(),
                      "[kg] of every vertex of a network (edge springs), in "
                      "place of Density: a number, \"label: value; ...\" by "
                      "label of the vertices, or pack (mass).");
    prm.declare_entry("Write electric field",
                      "false",
                      Patterns::Bool(),
                      "simulate: the field [V/m] at the charges of a network "
                      "goes into points.pvd.");
    prm.declare_entry("Field points",
                      "",
                      Patterns::Anything(),
                      "simulate, in 3D: field and potential of the charges at "
                      "these points [m] go into result.npz; a text of three "
                      "numbers per line, or .npz with points (P, 3).");
    declare_all<Force>(prm, "load");
    prm.leave_subsection();

    prm.enter_subsection("Model");
    declare_all<Force>(prm);
    declare_all<Force>(prm, "damping");
    prm.declare_entry("Type",
                      "sms",
                      Patterns::Selection(Registry<Force<3>>::names()),
                      "The material.");
    prm.declare_entry("Degree",
                      "1",
                      Patterns::Selection("1|2"),
                      "Linear or quadratic displacements; linear tetrahedra "
                      "are too stiff by a few percent on coarse meshes.");
    prm.declare_entry("Frames",
                      "default",
                      Patterns::Selection(
                        "default|registered|coordinate axes|pack"),
                      "Material axes of the cells; default: registered where a "
                      "displacement exists, else coordinate axes.");
    prm.declare_entry("Write operators",
                      "false",
                      Patterns::Bool(),
                      "forward, evaluate, identify with Degree = 1: the "
                      "operators C, L0, B, M, A0 of the intersection-point "
                      "springs in these frames go into operators.npz as "
                      "sparse matrices.");
    prm.declare_entry("Inverted cells",
                      "warn",
                      Patterns::Selection("warn|refuse"),
                      "What to do where a solution turns cells inside out "
                      "(det F <= 0): count them, or end with exit code 1.");
    prm.declare_entry("Near rigid tolerance",
                      "1e-6",
                      Patterns::Double(0),
                      "Principal stretches within this of 1 give no frame.");
    prm.leave_subsection();

    prm.enter_subsection("Stiffness");
    prm.declare_entry("Source",
                      "constant",
                      Patterns::Selection("constant|pack|per label|function"),
                      "alpha per cell: Value, the pack's alpha_k, Values by "
                      "label, or Function of position.");
    prm.declare_entry("Value",
                      "2236",
                      Patterns::Double(),
                      "alpha [Pa]; Young's modulus of continuum materials; "
                      "constant [N/m] of edge springs.");
    prm.declare_entry("Values",
                      "",
                      Patterns::Anything(),
                      "alpha [Pa] by label, \"1: 1000; 2: 2000\".");
    prm.declare_entry("Function",
                      "",
                      Patterns::Anything(),
                      "alpha [Pa] as an expression of x, y, z [m] at the "
                      "barycentre.");
    prm.leave_subsection();

    prm.enter_subsection("Objective");
    for (const auto &[name, item] : Registry<Objective<3>>::items())
      declare_objective(prm, name, item.description, item.declare_parameters);
    for (const auto &[name, item] : Registry<Objective<2>>::items())
      if (Registry<Objective<3>>::items().count(name) == 0)
        declare_objective(prm, name, item.description, item.declare_parameters);
    prm.leave_subsection();

    prm.enter_subsection("Parameterization");
    prm.declare_entry("Type",
                      "per cell",
                      Patterns::Selection(
                        Registry<Parameterization<3>>::names() + "|none"),
                      "The unknowns of the stiffness, all logarithms; none: "
                      "More unknowns only.");
    prm.declare_entry(
      "More unknowns",
      "",
      Patterns::Anything(),
      "\"field: spread, lower, upper; ...\", bounds may be "
      "left out. poisson_ratio, density, shear_viscosity, "
      "dilatational_viscosity, charge_density: global, per label, per "
      "cell; so rest_length of edge springs (a cell is a spring); mass, "
      "charge of networks: global, per label, per vertex; external_charge: "
      "global, each; as cells are "
      "lame_lambda and lame_mu, with Type = none in place of "
      "Young's modulus and Poisson ratio; damping_rate, damping_factor, "
      "ground_stiffness, ground_friction: global; "
      "initial_displacement, initial_velocity: translation, "
      "rigid, per vertex. They start from the model's "
      "entries. Small influences need an Optimizer/Gradient "
      "tolerance well below the default.");
    prm.declare_entry("Initial value",
                      "2236",
                      Patterns::Anything(),
                      "alpha [Pa], or pack (its alpha_k); Young's modulus of "
                      "continuum materials, constant [N/m] of edge springs, so "
                      "the bounds.");
    prm.declare_entry(
      "Reference stiffness",
      "",
      Patterns::Anything(),
      "Geometric mean of alpha [Pa] where the data give no "
      "scale; empty: that of the initial value, an assumption.");
    declare_all<Parameterization>(prm);
    prm.leave_subsection();

    prm.enter_subsection("Optimizer");
    OptimizerParameters::declare_parameters(prm);
    prm.leave_subsection();

    prm.enter_subsection("Newton");
    NewtonParameters::declare_parameters(prm);
    prm.leave_subsection();

    prm.enter_subsection("Linear solver");
    SolverParameters::declare_parameters(prm);
    prm.leave_subsection();

    prm.enter_subsection("Evaluate");
    prm.declare_entry("Hessian product",
                      "false",
                      Patterns::Bool(),
                      "Also write the product with a seeded random direction "
                      "of log alpha (hessian_direction, hessian_product).");
    prm.declare_entry("Seed", "1", Patterns::Integer(0), "Of the direction.");
    prm.leave_subsection();

    prm.enter_subsection("Verify");
    prm.declare_entry("Directions",
                      "2",
                      Patterns::Integer(1),
                      "Random points and directions per term.");
    prm.declare_entry("Seed",
                      "1",
                      Patterns::Integer(0),
                      "Of points and directions.");
    prm.leave_subsection();
  }
} // namespace Palpate
