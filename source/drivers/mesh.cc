#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/outputs.h>
#include <palpate/core/text.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/read_mask.h>
#include <palpate/drivers/tasks.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/read_surface.h>
#include <palpate/mesh/simplex.h>
#include <palpate/mesh/tetrahedralize.h>
#include <palpate/mesh/write_mesh.h>
#include <palpate/output/vtu_grid.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <map>
#include <sstream>

namespace Palpate
{
  using namespace dealii;

  namespace
  {
    struct MeshParameters
    {
      std::vector<std::string>           masks;
      std::vector<int>                   labels; ///< of one file; empty: all
      double                             cell_size = 0; ///< [m], 0: by itself
      std::map<int, std::vector<double>> factors; ///< of the size by label
      double                             surface_factor = 1;
      double surface_distance = 0; ///< [m], 0: by itself
      double smoothing        = 1; ///< [voxels]
      double smallest_island  = 0; ///< [m^3], negative: by itself
      bool   fill_holes       = false;
      /// Of a surface in place of a mask.
      bool        is_surface = false;
      double      unit       = 1; ///< [m] of its coordinates
      std::string axes;           ///< "of file", "RAS" or "LPS"
    };

    /// A number above 0, or nothing, which is 0.
    double
    positive_or_empty(Parameters &parameters, const std::string &name)
    {
      if (parameters.get(name).empty())
        return 0;
      const double value = parameters.get_double(name);
      if (!(value > 0))
        parameters.fail(name, "expected a value above 0, or nothing");
      return value;
    }

    MeshParameters
    read_mesh_parameters(Parameters &parameters)
    {
      const Parameters::Section section(parameters, "Mesh");
      MeshParameters            p;
      p.masks = parameters.get_list("Mask");
      if (p.masks.empty())
        parameters.fail("Mask", "expected a segmentation, or several");
      p.is_surface = is_surface_file(p.masks[0]);
      if (p.is_surface && p.masks.size() > 1)
        parameters.fail("Mask", "expected one surface, or masks");
      if (p.masks.size() == 1 && !p.is_surface)
        p.labels = parameters.get_integers("Labels");
      for (const int label : p.labels)
        if (label <= 0)
          parameters.fail("Labels", "expected labels above 0");
      p.cell_size      = positive_or_empty(parameters, "Cell size");
      p.surface_factor = parameters.get_double("Surface factor");
      if (!(p.surface_factor > 0))
        parameters.fail("Surface factor", "expected a value above 0");
      p.surface_distance = positive_or_empty(parameters, "Surface distance");
      if (p.is_surface)
        return p;
      p.factors = parameters.get_map("Cell size factors", 1);
      for (const auto &[label, factor] : p.factors)
        if (!(factor[0] > 0))
          parameters.fail("Cell size factors",
                          "label " + std::to_string(label) +
                            ": expected a factor above 0");
      p.smoothing       = parameters.get_double("Smoothing");
      p.smallest_island = parameters.get("Smallest island").empty()
                            ? -1
                            : parameters.get_double("Smallest island");
      p.fill_holes      = parameters.get_bool("Fill holes");
      return p;
    }

    /// Size [m] of the cells by which about so many fill the body: a
    /// tetrahedron of mean edge h has 0.103 h^3 in meshes of this kind.
    double
    size_for(const double volume, const double n_cells)
    {
      return std::cbrt(volume / n_cells / 0.103);
    }

    /// What the user left open, and whether it can be: volume [m^3] of the
    /// body.
    void
    find_sizes(MeshParameters    &p,
               const double       volume,
               const std::string &parameter_file)
    {
      if (p.cell_size == 0)
        p.cell_size = size_for(volume, 30000);
      const double cells = volume / (0.103 * std::pow(p.cell_size, 3));
      if (cells > 5e7)
        throw InputError(parameter_file,
                         "Mesh/Cell size: about " + Text::number(cells, 2) +
                           " cells, expected at most 5e7 (metres are meant)");
      if (cells < 1)
        throw InputError(
          parameter_file,
          "Mesh/Cell size: larger than the body, of " +
            Text::number(1e6 * volume, 3) +
            " ml, expected cells that fit in (metres are meant)");
      if (p.surface_distance == 0)
        p.surface_distance = p.cell_size / 8;
      if (p.smallest_island < 0)
        p.smallest_island = std::pow(p.cell_size, 3);
    }

    /// What is meshed, and what the user should know of it.
    struct Meshed
    {
      CaseData<3>              data;
      QualityReport<3>         quality;
      std::string              library;
      std::vector<double>      wanted, volumes; ///< [m^3] by label
      std::vector<std::size_t> n_cells;
      double                   mean_edge = 0; ///< [m]
      std::size_t              n_hanging = 0; ///< parts that were left out
      unsigned int             n_islands = 0, n_meshes = 0;
    };

    void
    measure(const Mask &mask, Meshed &result)
    {
      const auto &mesh = result.data.mesh;
      result.mean_edge = 0;
      result.volumes.assign(mask.names.size(), 0.);
      result.n_cells.assign(mask.names.size(), 0);
      for (std::size_t c = 0; c < mesh.cells.size(); ++c)
        {
          const auto        &v = mesh.cells[c];
          const Tensor<1, 3> a = mesh.vertices[v[1]] - mesh.vertices[v[0]],
                             b = mesh.vertices[v[2]] - mesh.vertices[v[0]],
                             d = mesh.vertices[v[3]] - mesh.vertices[v[0]];
          const unsigned int l = std::lower_bound(mask.names.begin(),
                                                  mask.names.end(),
                                                  mesh.labels[c]) -
                                 mask.names.begin();
          result.volumes[l] += std::abs(cross_product_3d(a, b) * d) / 6;
          ++result.n_cells[l];
          for (unsigned int i = 0; i < 4; ++i)
            for (unsigned int j = i + 1; j < 4; ++j)
              result.mean_edge +=
                (mesh.vertices[v[i]] - mesh.vertices[v[j]]).norm() / 6 /
                mesh.cells.size();
        }
    }

    /**
     * Where a body is thinner than its cells, some of them can hang at the rest
     * by a vertex or an edge alone, free to turn: parts (connected by faces)
     * below the volume of the smallest island are left out.
     */
    void
    drop_hanging_parts(const double smallest, Meshed &result)
    {
      auto               &mesh = result.data.mesh;
      std::vector<double> volumes(result.quality.n_components, 0.);
      for (std::size_t c = 0; c < mesh.cells.size(); ++c)
        volumes[result.quality.component_of_cell[c]] +=
          Simplex<3>(mesh, c).volume;
      result.n_hanging =
        std::count_if(volumes.begin(), volumes.end(), [&](const double v) {
          return v < smallest;
        });
      if (result.n_hanging == 0 || result.n_hanging == volumes.size())
        return;
      SerialMesh<3>                        kept;
      std::map<unsigned int, unsigned int> number;
      for (std::size_t c = 0; c < mesh.cells.size(); ++c)
        {
          const double volume = volumes[result.quality.component_of_cell[c]];
          if (volume < smallest)
            continue;
          auto cell = mesh.cells[c];
          for (unsigned int &v : cell)
            {
              const auto next = number.emplace(v, number.size());
              if (next.second)
                kept.vertices.push_back(mesh.vertices[v]);
              v = next.first->second;
            }
          kept.cells.push_back(cell);
          kept.labels.push_back(mesh.labels[c]);
        }
      mesh           = kept;
      result.quality = check_and_repair(result.data, true);
    }

    /// What CGAL made, whose lengths are in mm.
    void
    take(const LabelledTetrahedra &made,
         const Mask               &mask,
         const MeshParameters     &p,
         Meshed                   &result)
    {
      result.library = made.library;
      ++result.n_meshes;
      auto &mesh = result.data.mesh;
      mesh       = {};
      for (const auto &x : made.vertices)
        mesh.vertices.emplace_back(1e-3 * x[0], 1e-3 * x[1], 1e-3 * x[2]);
      mesh.cells = made.cells;
      for (const int label : made.labels)
        mesh.labels.push_back(mask.names[label - 1]);
      result.quality = check_and_repair(result.data, true);
      drop_hanging_parts(p.smallest_island, result);
      measure(mask, result);
    }

    /// What a surface encloses has the label 1.
    Meshed
    mesh_surface(const TriangleSurface &surface,
                 const MeshParameters  &p,
                 Mask                  &mask)
    {
      Meshed       result;
      LabelledBody how;
      how.cell_size        = {1e3 * p.cell_size};
      how.surface_factor   = p.surface_factor;
      how.surface_distance = 1e3 * p.surface_distance;
      result.data.source   = p.masks[0];
      mask.names           = {1};
      const auto made      = tetrahedralize(p.masks[0], surface, how);
      result.wanted        = {1e-9 * made.volume};
      take(made, mask, p, result);
      return result;
    }

    /// Lengths of CGAL are in mm, near the size of the cells.
    void
    mesh_once(const Mask           &mask,
              const LabelField     &field,
              const MeshParameters &p,
              Meshed               &result)
    {
      const Image &grid = mask.volume.grid;
      LabelledBody body;
      body.label = [&](const LabelledBody::Point &x) {
        return static_cast<int>(field.label(
          grid.voxel(Point<3>(1e-3 * x[0], 1e-3 * x[1], 1e-3 * x[2]))));
      };
      const auto in_mm = [&](const Tensor<1, 3> &voxel) {
        const Point<3> x = grid.world(voxel[0], voxel[1], voxel[2]);
        return LabelledBody::Point{1e3 * x[0], 1e3 * x[1], 1e3 * x[2]};
      };
      body.lower.fill(std::numeric_limits<double>::max());
      body.upper.fill(std::numeric_limits<double>::lowest());
      const auto box = field.box();
      for (unsigned int c = 0; c < 8; ++c)
        {
          const auto corner = in_mm(Tensor<1, 3>(
            {box[c & 1][0], box[c >> 1 & 1][1], box[c >> 2 & 1][2]}));
          for (unsigned int d = 0; d < 3; ++d)
            {
              body.lower[d] = std::min(body.lower[d], corner[d]);
              body.upper[d] = std::max(body.upper[d], corner[d]);
            }
        }
      const auto islands = field.islands();
      result.n_islands   = islands.size();
      for (const auto &x : islands)
        body.inner.push_back(in_mm(x));
      for (const int name : mask.names)
        body.cell_size.push_back(
          1e3 * p.cell_size *
          (p.factors.count(name) > 0 ? p.factors.at(name)[0] : 1));
      body.surface_factor   = p.surface_factor;
      body.surface_distance = 1e3 * p.surface_distance;

      take(tetrahedralize(body), mask, p, result);
    }

    /**
     * Mesh until every label has its volume: flat triangles cut the corners of
     * what is round, which the levels of the indicators make up for.
     */
    Meshed
    mesh_mask(const Mask &mask, const MeshParameters &p)
    {
      Meshed result;
      result.data.source = p.masks[0];
      LabelField   field(mask.volume, p.smoothing);
      const auto   counts = mask.volume.count();
      const double voxel  = mask.volume.voxel_volume();
      auto         aim    = counts;
      for (const double n : counts)
        result.wanted.push_back(n * voxel);
      for (unsigned int round = 0; round < 3; ++round)
        {
          if (p.smoothing > 0 || round > 0)
            field.keep_volumes(aim);
          mesh_once(mask, field, p, result);
          double worst = 0;
          for (unsigned int l = 0; l < aim.size(); ++l)
            if (result.volumes[l] > 0)
              {
                const double ratio = result.wanted[l] / result.volumes[l];
                worst              = std::max(worst, std::abs(ratio - 1));
                aim[l] *= ratio;
              }
          if (worst < 0.004)
            break;
        }
      return result;
    }

    /// Read the mask, fill its holes and drop its islands.
    Mask
    prepare_mask(MeshParameters           &p,
                 const std::string        &parameter_file,
                 nlohmann::json           &summary,
                 const ConditionalOStream &log)
    {
      Mask  mask   = read_mask(p.masks, p.labels, summary["warnings"]);
      auto &volume = mask.volume;
      for (const auto &[label, factor] : p.factors)
        if (std::count(mask.names.begin(), mask.names.end(), label) == 0)
          throw InputError(parameter_file,
                           "Mesh/Cell size factors: label " +
                             std::to_string(label) + " is not in the mask");
      const double voxel = volume.voxel_volume();
      double       sum   = 0;
      for (const double n : volume.count())
        sum += voxel * n;
      find_sizes(p, sum, parameter_file);
      log << "task mesh on " << Text::enumerate(p.masks) << std::endl
          << "  " << volume.grid.size[0] << " x " << volume.grid.size[1]
          << " x " << volume.grid.size[2] << " voxels, " << mask.names.size()
          << " label(s), " << std::setprecision(4) << 1e6 * sum
          << " ml; cells of " << 1e3 * p.cell_size << " mm" << std::endl;
      if (p.fill_holes)
        {
          const auto filled = fill_holes(volume);
          log << "  " << filled.n_parts << " hole(s) filled, "
              << 1e6 * voxel * filled.n_voxels << " ml" << std::endl;
          summary["holes_filled"] = {{"number", filled.n_parts},
                                     {"volume_m3", voxel * filled.n_voxels}};
        }
      const auto dropped = drop_islands(volume, p.smallest_island / voxel);
      summary["smallest_island_m3"] = p.smallest_island;
      if (dropped.n_parts > 0)
        log << "  " << dropped.n_parts << " island(s) below "
            << 1e6 * p.smallest_island << " ml dropped, together "
            << 1e6 * voxel * dropped.n_voxels << " ml (Mesh/Smallest island)"
            << std::endl;
      summary["islands_dropped"] = {{"number", dropped.n_parts},
                                    {"volume_m3", voxel * dropped.n_voxels}};
      const auto left            = volume.count();
      for (unsigned int l = 0; l < left.size(); ++l)
        if (left[l] == 0)
          throw InputError(p.masks[p.masks.size() > 1 ? l : 0],
                           "label " + std::to_string(mask.names[l]) +
                             " has no island of " +
                             Text::number(1e6 * p.smallest_island, 3) +
                             " ml, expected a smaller Mesh/Smallest island (or "
                             "Cell size)");
      return mask;
    }

    /// A surface, in mm and RAS.
    TriangleSurface
    prepare_surface(MeshParameters           &p,
                    const std::string        &parameter_file,
                    const ConditionalOStream &log)
    {
      std::string     axes;
      TriangleSurface surface = read_surface(p.masks[0], axes);
      if (p.axes != "of file")
        axes = p.axes;
      double volume = 0;
      for (auto &x : surface.vertices)
        for (unsigned int d = 0; d < 3; ++d)
          x[d] *= 1e3 * p.unit * (axes == "LPS" && d < 2 ? -1 : 1);
      for (const auto &t : surface.triangles)
        {
          Tensor<1, 3> x[3];
          for (unsigned int a = 0; a < 3; ++a)
            for (unsigned int d = 0; d < 3; ++d)
              x[a][d] =
                1e-3 * (surface.vertices[t[a]][d] - surface.vertices[0][d]);
          volume += cross_product_3d(x[0], x[1]) * x[2] / 6;
        }
      volume = std::abs(volume);
      if (!(volume > 0))
        throw InputError(p.masks[0],
                         "encloses nothing, expected a closed surface");
      find_sizes(p, volume, parameter_file);
      log << "task mesh on " << p.masks[0] << std::endl
          << "  " << surface.vertices.size() << " vertices, "
          << surface.triangles.size() << " triangles"
          << (axes.empty() ? "" : ", " + axes) << ", " << std::setprecision(4)
          << 1e6 * volume << " ml; cells of " << 1e3 * p.cell_size << " mm"
          << std::endl;
      return surface;
    }

    void
    check_labels(const Mask     &mask,
                 const Meshed   &result,
                 nlohmann::json &summary)
    {
      auto &warnings = summary["warnings"];
      for (unsigned int l = 0; l < mask.names.size(); ++l)
        {
          const std::string name  = std::to_string(mask.names[l]);
          const double      off   = result.volumes[l] / result.wanted[l] - 1;
          const auto        title = mask.titles.find(mask.names[l]);
          if (title != mask.titles.end())
            summary["names"][name] = title->second;
          summary["labels"][name] = {{"volume_of_mask_m3", result.wanted[l]},
                                     {"volume_m3", result.volumes[l]},
                                     {"cells", result.n_cells[l]}};
          if (result.n_cells[l] == 0)
            warnings.push_back("label " + name +
                               " has no cell: it is smaller than the cells, or "
                               "was smoothed away (Mesh/Cell size, Smoothing)");
          else if (std::abs(off) > 0.01)
            warnings.push_back("label " + name + ": the mesh has " +
                               Text::number(100 * off, 2) +
                               " % more volume than the mask (Mesh/Cell size, "
                               "Smoothing)");
        }
      if (result.quality.min_angle < 10)
        warnings.push_back("worst dihedral angle " +
                           Text::number(result.quality.min_angle, 3) +
                           " degrees, below 10");
    }

    VtuGrid
    vtu_of(const SerialMesh<3> &mesh)
    {
      VtuGrid grid(VtuGrid::Shape::tetrahedron);
      for (const auto &x : mesh.vertices)
        grid.add_point(Point<3>(1e3 * x));
      for (const auto &cell : mesh.cells)
        for (const unsigned int v : cell)
          grid.add_corner(v);
      grid.add_cell_array("labels",
                          std::vector<double>(mesh.labels.begin(),
                                              mesh.labels.end()));
      return grid;
    }

    NpzArrays
    arrays_of(const SerialMesh<3> &mesh)
    {
      std::vector<double>       points;
      std::vector<std::int64_t> cells,
        labels(mesh.labels.begin(), mesh.labels.end());
      for (const auto &x : mesh.vertices)
        points.insert(points.end(), x.begin_raw(), x.end_raw());
      for (const auto &c : mesh.cells)
        cells.insert(cells.end(), c.begin(), c.end());
      NpzArrays arrays;
      arrays["mesh_points"] = NpyArray({mesh.vertices.size(), 3}, points);
      arrays["tetrahedra"]  = NpyArray::integers({mesh.cells.size(), 4}, cells);
      arrays["labels"]      = NpyArray::integers({mesh.cells.size()}, labels);
      return arrays;
    }
  } // namespace

  int
  run_mesh(Parameters               &parameters,
           const RunOptions         &options,
           const MPI_Comm           &comm,
           const ConditionalOStream &log)
  {
    Timer          timer;
    MeshParameters p = read_mesh_parameters(parameters);
    if (p.is_surface)
      {
        const Parameters::Section section(parameters, "Case");
        const std::string         unit = parameters.get("Length unit");
        p.unit = unit == "mm" ? 1e-3 : unit == "cm" ? 1e-2 : 1;
        p.axes = parameters.get("Coordinates");
      }
    parameters.refuse_unused("mesh");
    nlohmann::json summary;
    summary["warnings"] = nlohmann::json::array();
    Mask            mask;
    TriangleSurface surface;
    run_on_root(comm, [&]() {
      if (p.is_surface)
        surface = prepare_surface(p, parameters.filename, log);
      else
        mask = prepare_mask(p, parameters.filename, summary, log);
    });
    Outputs::Plan plan;
    plan.names = {
      "summary.json", "parameters.prm", "result.npz", "mesh.msh", "mesh.vtu"};
    Outputs outputs(parameters, plan, comm, log);
    if (options.dry_run)
      return 0;
    outputs.probe();
    Meshed result;
    run_on_root(comm, [&]() {
      if (p.is_surface)
        result = mesh_surface(surface, p, mask);
      else
        result = mesh_mask(mask, p);
      check_labels(mask, result, summary);
      if (result.n_hanging > 0)
        log << "  " << result.n_hanging << " part(s) below "
            << 1e6 * p.smallest_island
            << " ml that hang by vertices or edges alone left out" << std::endl;
      log << describe(result.quality) << std::endl;
      for (unsigned int l = 0; l < mask.names.size(); ++l)
        log << "  label " << mask.names[l]
            << (mask.titles.count(mask.names[l]) > 0
                  ? " (" + Text::one_line(mask.titles.at(mask.names[l])) + ")"
                  : "")
            << ": " << result.n_cells[l] << " cells, " << std::setprecision(4)
            << 1e6 * result.volumes[l] << " ml (of the input "
            << 1e6 * result.wanted[l] << " ml)" << std::endl;
      for (const auto &text : summary["warnings"])
        log << "  warning: " << text.get<std::string>() << std::endl;
    });
    outputs.begin();
    run_on_root(comm, [&]() {
      const auto       &mesh = result.data.mesh;
      const std::string path = outputs.folder() + "/";
      write_gmsh(path + "mesh.msh", mesh, 1e-3);
      std::ostringstream vtu;
      vtu_of(mesh).write_vtu(vtu);
      write_file(path + "mesh.vtu", vtu.str());
      write_npz(path + "result.npz", arrays_of(mesh));
      summary["task"]                    = "mesh";
      summary["stop_reason"]             = "meshed";
      summary["library"]                 = result.library;
      summary["cell_size_m"]             = p.cell_size;
      summary["mean_edge_m"]             = result.mean_edge;
      summary["volume"]                  = result.quality.volume;
      summary["dihedral_angles_degrees"] = {result.quality.min_angle,
                                            result.quality.max_angle};
      summary["sizes"]                   = {{"vertices", mesh.vertices.size()},
                                            {"cells", mesh.cells.size()},
                                            {"components", result.quality.n_components},
                                            {"islands", result.n_islands}};
      summary["meshes_made"]             = result.n_meshes;
      summary["seconds"]                 = {{"elapsed", timer.wall_time()}};
      write_summary(outputs.folder(), parameters, summary, comm);
    });
    outputs.commit();
    log
      << "mesh.msh (mm, the mask's world: for Case/File with Case/Length unit "
         "= mm), mesh.vtu and result.npz in "
      << parameters.get("Output directory") << " (" << std::setprecision(3)
      << timer.wall_time() << " s)" << std::endl;
    return 0;
  }
} // namespace Palpate
