#include <deal.II/base/timer.h>

#include <palpate/core/errors.h>
#include <palpate/core/files.h>
#include <palpate/core/outputs.h>
#include <palpate/core/text.h>
#include <palpate/drivers/problem.h>
#include <palpate/drivers/tasks.h>
#include <palpate/image/read_image.h>
#include <palpate/mesh/quality.h>
#include <palpate/mesh/simplex.h>
#include <palpate/mesh/tetrahedralize.h>
#include <palpate/mesh/write_mesh.h>
#include <palpate/output/vtu_grid.h>
#include <palpate/sampling/label_field.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <map>
#include <set>
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
      if (p.masks.size() == 1)
        p.labels = parameters.get_integers("Labels");
      for (const int label : p.labels)
        if (label <= 0)
          parameters.fail("Labels", "expected labels above 0");
      p.cell_size      = positive_or_empty(parameters, "Cell size");
      p.factors        = parameters.get_map("Cell size factors", 1);
      p.surface_factor = parameters.get_double("Surface factor");
      if (!(p.surface_factor > 0))
        parameters.fail("Surface factor", "expected a value above 0");
      for (const auto &[label, factor] : p.factors)
        if (!(factor[0] > 0))
          parameters.fail("Cell size factors",
                          "label " + std::to_string(label) +
                            ": expected a factor above 0");
      p.surface_distance = positive_or_empty(parameters, "Surface distance");
      p.smoothing        = parameters.get_double("Smoothing");
      p.smallest_island  = parameters.get("Smallest island").empty()
                             ? -1
                             : parameters.get_double("Smallest island");
      p.fill_holes       = parameters.get_bool("Fill holes");
      return p;
    }

    /// A mask in use: what its numbers are called outside.
    struct Mask
    {
      LabelVolume      volume;
      std::vector<int> names; ///< the users' labels, (L)
    };

    /// Whole numbers from 0 on. @throw InputError naming the first other voxel
    std::vector<int>
    whole_numbers(const Image &image)
    {
      std::vector<int> labels(image.values.size());
      for (std::size_t v = 0; v < labels.size(); ++v)
        {
          const double value = image.values[v], whole = std::round(value);
          if (std::abs(value - whole) > 1e-3 || whole < 0 || whole > 60000)
            throw InputError(image.source,
                             image.place_of(v) + " is " + Text::number(value) +
                               ", expected labels: whole numbers from 0 to "
                               "60000");
          labels[v] = static_cast<int>(whole);
        }
      return labels;
    }

    /// One file with labels.
    Mask
    read_labels(const std::string &file, const std::vector<int> &wanted)
    {
      Mask                         mask;
      Image                        image  = read_image(file, 1);
      const auto                   labels = whole_numbers(image);
      std::map<int, std::uint16_t> number;
      for (const int label : labels)
        if (label > 0 && (wanted.empty() ||
                          std::count(wanted.begin(), wanted.end(), label) > 0))
          number[label] = 0;
      for (const int label : wanted)
        if (number.count(label) == 0)
          {
            std::vector<std::string> there;
            for (const int other : std::set<int>(labels.begin(), labels.end()))
              if (other > 0 && there.size() < 20)
                there.push_back(std::to_string(other));
            throw InputError(file,
                             "no voxel has the label " + std::to_string(label) +
                               " (Mesh/Labels), expected one of " +
                               Text::enumerate(there, " or "));
          }
      for (auto &[label, n] : number)
        {
          mask.names.push_back(label);
          n = mask.names.size();
        }
      mask.volume.values.assign(labels.size(), 0);
      for (std::size_t v = 0; v < labels.size(); ++v)
        if (const auto found = number.find(labels[v]); found != number.end())
          mask.volume.values[v] = found->second;
      image.values     = {};
      mask.volume.grid = image;
      return mask;
    }

    /// A file for each label: what is not 0. Where they overlap, the first has
    /// the voxel.
    Mask
    read_list(const std::vector<std::string> &files, nlohmann::json &warnings)
    {
      Mask mask;
      for (unsigned int l = 0; l < files.size(); ++l)
        {
          const Image image  = read_image(files[l], 1);
          const auto  labels = whole_numbers(image);
          if (l == 0)
            {
              mask.volume.grid        = image;
              mask.volume.grid.values = {};
              mask.volume.values.assign(labels.size(), 0);
            }
          check_same_grid(image, mask.volume.grid);
          std::size_t overlap = 0, n = 0;
          for (std::size_t v = 0; v < labels.size(); ++v)
            if (labels[v] > 0 && mask.volume.values[v] == 0)
              {
                mask.volume.values[v] = l + 1;
                ++n;
              }
            else if (labels[v] > 0)
              ++overlap;
          if (n == 0)
            throw InputError(
              files[l],
              overlap > 0 ? "lies within the masks before it, expected "
                            "voxels of its own"
                          : "has no voxel above 0, expected a segmentation");
          if (overlap > 0)
            warnings.push_back(files[l] + ": " + std::to_string(overlap) +
                               " voxels are in a mask before it, too, which "
                               "keeps them");
          mask.names.push_back(l + 1);
        }
      return mask;
    }

    /// Size [m] of the cells by which about so many fill the body: a
    /// tetrahedron of mean edge h has 0.103 h^3 in meshes of this kind.
    double
    size_for(const double volume, const double n_cells)
    {
      return std::cbrt(volume / n_cells / 0.103);
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

      const auto made = tetrahedralize(body);
      result.library  = made.library;
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

    void
    check_labels(const Mask               &mask,
                 const Meshed             &result,
                 nlohmann::json           &summary,
                 std::vector<std::string> &warnings)
    {
      for (unsigned int l = 0; l < mask.names.size(); ++l)
        {
          const std::string name  = std::to_string(mask.names[l]);
          const double      off   = result.volumes[l] / result.wanted[l] - 1;
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
    parameters.refuse_unused("mesh");
    nlohmann::json summary;
    summary["warnings"] = nlohmann::json::array();
    Mask mask;
    run_on_root(comm, [&]() {
      mask            = p.masks.size() == 1 ? read_labels(p.masks[0], p.labels)
                                            : read_list(p.masks, summary["warnings"]);
      auto &volume    = mask.volume;
      volume.n_labels = mask.names.size();
      if (mask.names.empty())
        throw InputError(p.masks[0],
                         "has no voxel above 0, expected a segmentation");
      for (const auto &[label, factor] : p.factors)
        if (std::count(mask.names.begin(), mask.names.end(), label) == 0)
          throw InputError(parameters.filename,
                           "Mesh/Cell size factors: label " +
                             std::to_string(label) + " is not in the mask");
      const double voxel = volume.voxel_volume();
      double       sum   = 0;
      for (const double n : volume.count())
        sum += voxel * n;
      if (p.cell_size == 0)
        p.cell_size = size_for(sum, 30000);
      const double cells = sum / (0.103 * std::pow(p.cell_size, 3));
      if (cells > 5e7)
        throw InputError(parameters.filename,
                         "Mesh/Cell size: about " + Text::number(cells, 2) +
                           " cells, expected at most 5e7 (metres are meant)");
      if (cells < 1)
        throw InputError(
          parameters.filename,
          "Mesh/Cell size: larger than the body, of " +
            Text::number(1e6 * sum, 3) +
            " ml, expected cells that fit in (metres are meant)");
      if (p.surface_distance == 0)
        p.surface_distance = p.cell_size / 8;
      if (p.smallest_island < 0)
        p.smallest_island = std::pow(p.cell_size, 3);
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
    });
    Outputs::Plan plan;
    plan.names = {
      "summary.json", "parameters.prm", "result.npz", "mesh.msh", "mesh.vtu"};
    Outputs outputs(parameters, plan, comm, log);
    if (!options.dry_run)
      outputs.probe();
    if (options.dry_run)
      return 0;
    Meshed result;
    run_on_root(comm, [&]() {
      result = mesh_mask(mask, p);
      std::vector<std::string> warnings;
      check_labels(mask, result, summary, warnings);
      for (const auto &text : warnings)
        summary["warnings"].push_back(text);
      if (result.n_hanging > 0)
        log << "  " << result.n_hanging << " part(s) below "
            << 1e6 * p.smallest_island
            << " ml that hang by vertices or edges alone left out" << std::endl;
      log << describe(result.quality) << std::endl;
      for (unsigned int l = 0; l < mask.names.size(); ++l)
        log << "  label " << mask.names[l] << ": " << result.n_cells[l]
            << " cells, " << std::setprecision(4) << 1e6 * result.volumes[l]
            << " ml (mask " << 1e6 * result.wanted[l] << " ml)" << std::endl;
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
